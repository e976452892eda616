//! The floor: hyper with nothing behind it, answering what the queue answers to a PUT. No daemon on hyper is faster.

use std::{convert::Infallible, io, net::Ipv4Addr};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The answer: as long as the queue's own to a PUT, 46 bytes.
const BODY: &[u8] = br#"{"code":1,"message":"HTTPMQ_PUT_OK","data":{}}"#;

/// Serves on loopback until the process ends; prints `listening on 127.0.0.1:PORT` first. Port 0 picks a free one.
///
/// # Errors
/// The port is taken, or there is no runtime.
pub(crate) fn run(port: u16, single_thread: bool) -> io::Result<()> {
    let mut runtime = if single_thread {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    runtime.enable_all().build()?.block_on(serve(port))
}

async fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A client that goes away is no event here.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // Errors of the body end the connection, which hyper sees for itself.
    let _ = request.into_body().collect().await;
    let mut response = Response::new(Full::new(Bytes::from_static(BODY)));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}
