//! Small file systems of our own, whose power can be cut.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use tempfile::TempDir;

use crate::tools;

/// A file system that is mounted. Dropped, it is unmounted, and its loop device goes with that.
pub(crate) struct Disk {
    mount: PathBuf,
    /// The image of an ext4; `None` for one in memory.
    image: Option<PathBuf>,
    options: String,
    /// The last one to go.
    _root: TempDir,
}

impl Disk {
    /// An ext4 in an image on a loop device, with options as mount takes them.
    pub(crate) fn ext4(mib: u64, options: &str) -> Result<Disk, String> {
        let (root, mount) = place();
        let image = root.path().join("image");
        File::create(&image).and_then(|file| file.set_len(mib << 20)).map_err(|e| e.to_string())?;
        let mkfs = tools::find("mkfs.ext4").ok_or("there is no mkfs.ext4")?;
        // Nothing is kept back for root: full is full.
        run(Command::new(mkfs).args(["-q", "-F", "-m", "0"]).arg(&image))?;
        let options = format!("loop{}{options}", if options.is_empty() { "" } else { "," });
        let disk = Disk { mount, image: Some(image), options, _root: root };
        disk.mount()?;
        Ok(disk)
    }

    /// A file system in memory.
    pub(crate) fn memory(mib: u64) -> Result<Disk, String> {
        let (root, mount) = place();
        let disk = Disk { mount, image: None, options: format!("size={mib}m"), _root: root };
        disk.mount()?;
        Ok(disk)
    }

    /// Where a daemon has its data here.
    pub(crate) fn data(&self) -> PathBuf {
        self.mount.join("data")
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        let stat = statvfs(&self.mount).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Another program's file that leaves so much. What the daemon gives up after that is left to it.
    pub(crate) fn fill_up_to(&self, free_bytes: u64) -> PathBuf {
        const TRIES: usize = 100;
        /// What POSIX counts the space of a file in.
        const BLOCK_BYTES: u64 = 512;
        let path = self.mount.join("filler");
        let file = File::create(&path).unwrap();
        let most = self.free_bytes().saturating_sub(free_bytes);
        for _ in 0..TRIES {
            let found = file.metadata().unwrap();
            let (length, taken) = (found.len(), found.blocks() * BLOCK_BYTES);
            let Some(bytes) = self.free_bytes().checked_sub(free_bytes).filter(|bytes| *bytes > 0) else { break };
            // More than there was: the daemon has given something up meanwhile.
            if bytes > most.saturating_sub(taken) {
                break;
            }
            // The daemon is at work: there may be less by now.
            if fallocate(file.as_fd(), FallocateFlags::empty(), length, bytes).is_ok() {
                break;
            }
        }
        path
    }

    /// The power is gone: what is not on the disk by now never will be.
    pub(crate) fn cut(&self, power: &mut Power) {
        power.cut(&self.mount);
    }

    /// The power is back. Nobody may have a file open there.
    pub(crate) fn remount(&self) -> Result<(), String> {
        unmount(&self.mount)?;
        self.mount()
    }

    fn mount(&self) -> Result<(), String> {
        let mut command = Command::new("mount");
        match &self.image {
            Some(image) => command.args(["-o", &self.options]).arg(image).arg(&self.mount),
            None => command.args(["-t", "tmpfs", "-o", &self.options, "tmpfs"]).arg(&self.mount),
        };
        run(&mut command)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if unmount(&self.mount).is_err() {
            // A daemon that a failed test left behind must not keep it in the list of mounts.
            let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
        }
    }
}

/// Why there are no disks on this machine, if so. It is tried once.
pub(crate) fn cannot_mount() -> Option<String> {
    static TRIED: OnceLock<Option<String>> = OnceLock::new();
    TRIED.get_or_init(|| Disk::ext4(8, "").err().map(|why| format!("cannot mount an image: {why}"))).clone()
}

fn place() -> (TempDir, PathBuf) {
    let root = tempfile::Builder::new().prefix("httpmq-faults-").tempdir().unwrap();
    let mount = root.path().join("disk");
    fs::create_dir(&mount).unwrap();
    (root, mount)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// The kernel may need a moment to let go of the files of a process that was killed.
fn unmount(mount: &Path) -> Result<(), String> {
    let mut result = Ok(());
    for _ in 0..100 {
        result = run(Command::new("umount").arg(mount));
        if result.is_ok() {
            return result;
        }
        thread::sleep(Duration::from_millis(50));
    }
    result
}

/// What cuts power: the ioctl that shuts an ext4 down needs unsafe code in Rust, so it is Python's. It waits ready, so that the
/// moment of a cut is ours to choose.
pub(crate) struct Power {
    python: Child,
    say: ChildStdin,
    hear: BufReader<ChildStdout>,
}

/// EXT4_IOC_SHUTDOWN, with EXT4_GOING_FLAGS_NOLOGFLUSH: not even the journal is written.
const PYTHON: &str = "
import fcntl, os, struct, sys
print('ready', flush=True)
for path in iter(sys.stdin.readline, ''):
    file = os.open(path.rstrip('\\n'), os.O_RDONLY)
    fcntl.ioctl(file, 0x8004587d, struct.pack('I', 2))
    os.close(file)
    print('cut', flush=True)
";

impl Power {
    pub(crate) fn new() -> Power {
        let mut command = Command::new("python3");
        command.args(["-c", PYTHON]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut python = command.spawn().unwrap();
        let (say, hear) = (python.stdin.take().unwrap(), BufReader::new(python.stdout.take().unwrap()));
        let mut power = Power { python, say, hear };
        power.expect("ready");
        power
    }

    fn cut(&mut self, mount: &Path) {
        writeln!(self.say, "{}", mount.display()).unwrap();
        self.expect("cut");
    }

    fn expect(&mut self, word: &str) {
        let mut line = String::new();
        self.hear.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), word, "python3 cannot shut a file system down");
    }
}

impl Drop for Power {
    fn drop(&mut self) {
        let _ = self.python.kill();
        let _ = self.python.wait();
    }
}
