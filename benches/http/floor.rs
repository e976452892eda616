//! The floor: hyper with nothing behind it, answering what the queue answers. No daemon on hyper is faster.
//!
//! The synced floor is the same with a file behind it: it answers a PUT when the body is on the disk, and a GET when as much is there as
//! says how far a queue was read; one write and one sync for all who wait.

use std::{
    convert::Infallible,
    fs::File,
    io::{self, ErrorKind},
    net::Ipv4Addr,
    os::unix::fs::FileExt,
    path::Path,
    sync::mpsc,
    thread,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::oneshot};

/// The answer to a PUT, as long as the queue's own.
const PUT_ANSWER: &[u8] = br#"{"code":1,"message":"HTTPMQ_PUT_OK","data":{}}"#;

/// The synced floor's file: it has this length from the beginning, and is written over from there.
const FILE_BYTES: usize = 32 << 20;

/// What it writes for a GET: as long as the state of a queue.
const STATE: &[u8] = &[b's'; 100];

/// What has to be on the disk, and who waits for that.
type Waiting = (Bytes, oneshot::Sender<()>);

/// Serves on loopback until the process ends; prints `listening on 127.0.0.1:PORT` first. Port 0 picks a free one. A GET is answered
/// with a message of `size` bytes. With a directory this is the synced floor, and its file is there.
///
/// # Errors
/// The port is taken, there is no runtime, or the file cannot be made.
pub(crate) fn run(port: u16, size: usize, single_thread: bool, synced: Option<&Path>) -> io::Result<()> {
    let disk = synced.map(start_writing).transpose()?;
    let mut runtime = if single_thread {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    runtime.enable_all().build()?.block_on(serve(port, size, disk))
}

async fn serve(port: u16, size: usize, disk: Option<mpsc::Sender<Waiting>>) -> io::Result<()> {
    let get_answer = format!(r#"{{"code":1,"message":"HTTPMQ_SUCCEED","data":"{}"}}"#, "x".repeat(size));
    let get_answer = Bytes::from(get_answer);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (get_answer, disk) = (get_answer.clone(), disk.clone());
        let service = service_fn(move |request| answer(request, get_answer.clone(), disk.clone()));
        tokio::spawn(async move {
            // A client that goes away is no event here.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    get_answer: Bytes,
    disk: Option<mpsc::Sender<Waiting>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_get = request.method() == Method::GET;
    // Errors of the body end the connection, which hyper sees for itself.
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let (answer, kept) =
        if is_get { (get_answer, Bytes::from_static(STATE)) } else { (Bytes::from_static(PUT_ANSWER), body) };
    if let Some(disk) = disk {
        let (done, on_disk) = oneshot::channel();
        // Its thread ends with the process.
        let _ = disk.send((kept, done));
        let _ = on_disk.await;
    }
    let mut response = Response::new(Full::new(answer));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Starts the thread that writes what it is sent, syncs, and tells all of them, again and again.
fn start_writing(dir: &Path) -> io::Result<mpsc::Sender<Waiting>> {
    let file = File::create(dir.join("synced-floor"))?;
    file.write_all_at(&vec![0; FILE_BYTES], 0)?;
    file.sync_all()?;
    let (sender, waiting) = mpsc::channel();
    thread::spawn(move || match write_all(&file, &waiting) {
        Ok(()) => {}
        Err(error) => {
            eprintln!("the synced floor cannot write: {error}");
            std::process::exit(1);
        }
    });
    Ok(sender)
}

fn write_all(file: &File, waiting: &mpsc::Receiver<Waiting>) -> io::Result<()> {
    let mut at = 0;
    while let Ok(first) = waiting.recv() {
        let group: Vec<Waiting> = std::iter::once(first).chain(waiting.try_iter()).collect();
        let bytes = group.iter().map(|(body, _)| &body[..]).collect::<Vec<_>>().concat();
        if bytes.len() > FILE_BYTES {
            return Err(io::Error::new(ErrorKind::InvalidInput, "more at once than its file has room for"));
        }
        if at + bytes.len() > FILE_BYTES {
            at = 0;
        }
        file.write_all_at(&bytes, at as u64)?;
        file.sync_data()?;
        at += bytes.len();
        for (_, done) in group {
            // Who went away meanwhile wants no answer.
            let _ = done.send(());
        }
    }
    Ok(())
}
