//! The floor: hyper with nothing behind it, answering what the queue answers. No daemon on hyper is faster.

use std::{convert::Infallible, io, net::Ipv4Addr};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The answer to a PUT, as long as the queue's own.
const PUT_ANSWER: &[u8] = br#"{"code":1,"message":"HTTPMQ_PUT_OK","data":{}}"#;

/// Serves on loopback until the process ends; prints `listening on 127.0.0.1:PORT` first. Port 0 picks a free one. A GET is answered
/// with a message of `size` bytes.
///
/// # Errors
/// The port is taken, or there is no runtime.
pub(crate) fn run(port: u16, size: usize, single_thread: bool) -> io::Result<()> {
    let mut runtime = if single_thread {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    runtime.enable_all().build()?.block_on(serve(port, size))
}

async fn serve(port: u16, size: usize) -> io::Result<()> {
    let get_answer = format!(r#"{{"code":1,"message":"HTTPMQ_SUCCEED","data":"{}"}}"#, "x".repeat(size));
    let get_answer = Bytes::from(get_answer);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let get_answer = get_answer.clone();
        let service = service_fn(move |request| answer(request, get_answer.clone()));
        tokio::spawn(async move {
            // A client that goes away is no event here.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, get_answer: Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = if request.method() == Method::GET { get_answer } else { Bytes::from_static(PUT_ANSWER) };
    // Errors of the body end the connection, which hyper sees for itself.
    let _ = request.into_body().collect().await;
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}
