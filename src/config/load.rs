//! The layers, one over the other.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::env::{self, Variables};
use super::layer::Layer;
use super::value::{Origin, Wrong};
use super::{Change, Config, ConfigError, changes, check, print};
use crate::args::Args;

/// The configuration file as shipped: the keys, the defaults and the documentation of both.
pub const SHIPPED: &str = include_str!("../../httpmq.toml");

/// The settings in force and where they came from.
#[derive(Debug)]
pub struct Loaded {
    /// What the settings mean.
    pub config: Config,
    /// The configuration file, when one was read.
    pub file: Option<PathBuf>,
    /// The profile that was taken.
    pub profile: String,
    /// What to log once there is a log.
    pub warnings: Vec<String>,
    said: Layer,
    shipped: Layer,
}

impl Loaded {
    /// The settings in force as a configuration file in the order of the shipped one.
    pub fn to_toml(&self) -> String {
        let file = self.file.as_deref().map_or("no file".into(), |path| format!("file {path:?}"));
        let body = print::toml(&self.said, SHIPPED, &self.shipped);
        format!(
            "# Settings in force, out of: built-in defaults, profile {}, {file}, environment, flags.\n{body}",
            self.profile
        )
    }

    /// What `new` says differently.
    pub fn changes(&self, new: &Loaded) -> Vec<Change> {
        changes::between(&self.said, &new.said)
    }

    /// Takes sections over from `new`, because they are in force now. The others stay as they are.
    pub fn take_over(&mut self, new: &Loaded, sections: &[&str]) {
        for section in sections {
            if let Some(keys) = new.said.sections.get(*section) {
                self.said.sections.insert((*section).to_owned(), keys.clone());
            }
            if *section == "queues" {
                self.said.queues = new.said.queues.clone();
            }
        }
        self.file.clone_from(&new.file);
    }
}

/// Puts the layers over each other, the later one wins: built-in default, profile, file, environment, flag.
/// Reads the configuration file and nothing else.
///
/// # Errors
/// A file that cannot be read, and the first name, type, value or range that is wrong, also when a later layer would
/// have hidden it.
pub fn load(args: &Args, env: impl Iterator<Item = (String, String)>) -> Result<Loaded, ConfigError> {
    let mut variables = Variables::new(env);
    let file = file(args, &mut variables)?;
    let wrong = |wrong| ConfigError::new(wrong, file.as_ref());

    let shipped = shipped().map_err(wrong)?;
    let mut said = shipped.clone();
    let mut config = check::config(&said).map_err(wrong)?;

    let profile = choose(args.profile.clone(), "--profile", "HTTPMQ_PROFILE", &mut variables).map_err(wrong)?;
    let (profile_origin, profile) = profile.unwrap_or((Origin::Shipped, "develop".into()));
    let layers = [
        profile_layer(&profile, profile_origin),
        file.as_ref().map_or(Ok(Layer::default()), |(_, text)| Layer::from_toml(text, Some(&shipped), Origin::File)),
        variables.layer(&shipped),
        Ok(flags(args, &shipped)),
    ];
    for layer in layers {
        said.overlay(layer.map_err(wrong)?);
        // After each layer, so that a wrong value does not hide below a right one until that one is taken away.
        config = check::config(&said).map_err(wrong)?;
    }
    check::together(&said).map_err(wrong)?;
    let warnings = variables.warnings();
    Ok(Loaded { config, file: file.map(|(path, _)| path), profile, warnings, said, shipped })
}

/// The layer under all others.
pub(crate) fn shipped() -> Result<Layer, Wrong> {
    Layer::from_toml(SHIPPED, None, |_| Origin::Shipped)
}

/// A choice that a flag or a variable makes, and which of them made it.
fn choose<T: From<String>>(
    flag: Option<T>,
    flag_name: &str,
    name: &str,
    variables: &mut Variables,
) -> Result<Option<(Origin, T)>, Wrong> {
    let variable = variables.take(name)?;
    Ok(match flag {
        Some(value) => Some((Origin::Named(flag_name.into()), value)),
        None => variable.map(|value| (Origin::Named(name.into()), value.into())),
    })
}

/// What a profile changes, as a file would say it.
fn profile_layer(name: &str, origin: Origin) -> Result<Layer, Wrong> {
    let text = match name {
        "develop" => "",
        "product" => "log.level = 'warn'\nstore.data_dir = '/var/lib/httpmq'",
        "test" => "log.level = 'warn'\nstore.data_dir = 'httpmq-data-test'",
        other => {
            let message = format!("there is no profile {other:?}; there are develop, product, test");
            return Err(Wrong { origin, message });
        }
    };
    Layer::from_toml(text, None, |_| Origin::Profile)
}

fn flags(args: &Args, shipped: &Layer) -> Layer {
    let mut layer = Layer::default();
    let mut set =
        |flag, text: &str, section, key| layer.set(section, key, env::said(flag, text, shipped, section, key));
    if let Some(host) = &args.host {
        set("--host", host, "http", "host");
        set("--host", host, "pubsub", "host");
    }
    if let Some(port) = args.port {
        set("--port", &port.to_string(), "http", "port");
    }
    if let Some(port) = args.tcp_port {
        set("--tcp-port", &port.to_string(), "pubsub", "port");
    }
    if let Some(dir) = &args.data_dir {
        set("--data-dir", &dir.to_string_lossy(), "store", "data_dir");
    }
    layer
}

/// The operator's file and its text: the one that was named, else `httpmq.toml` here when there is one.
fn file(args: &Args, variables: &mut Variables) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let named = choose(args.config.clone(), "--config", "HTTPMQ_CONFIG", variables);
    let named = named.map_err(|wrong| ConfigError::new(wrong, None))?.map(|(_, path)| path);
    let implicit = named.is_none();
    let path = named.unwrap_or_else(|| "httpmq.toml".into());
    match read(&path) {
        Err(source) if implicit && source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Unreadable { path, source }),
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some((path, text))),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes().get(..good).unwrap_or_default());
                Err(ConfigError::in_file(&path, &text, good, "is not UTF-8 text".into()))
            }
        },
    }
}

/// Far more than any settings; a device or a log given by mistake ends here and not in the memory.
const MAX_FILE_BYTES: u64 = 1 << 20;

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    Ok(bytes)
}
