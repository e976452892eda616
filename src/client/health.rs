//! `httpmq status --health`: whether the daemon takes puts, for a service manager or a container.

use std::net::IpAddr;
use std::path::Path;

use super::stop::{Exit, Stop};
use super::{authorities, connect, server, show, variable};
use crate::args::{Args, Status};
use crate::config;
use crate::http::client::{Server, Shown};

pub(super) async fn health(args: &Status) -> Result<(), Stop> {
    if args.queue.is_some() {
        return Err(Stop::usage("--health is about the daemon: name no queue"));
    }
    match ask(args).await {
        Ok(Shown::Data(_)) => show::write("ready\n").map_err(Stop::output),
        Ok(Shown::Problem { code, detail }) => Err(unhealthy(&format!("not ready, {code}: {detail}"))),
        Err(stop) => Err(unhealthy(&stop.text)),
    }
}

async fn ask(args: &Status) -> Result<Shown, Stop> {
    let server = match args.server.is_some() || variable("HTTPMQ_URL").is_some() {
        true => server(args.server.as_deref(), args.ca.as_deref(), args.token.as_deref())?,
        false => of_settings(args.ca.as_deref())?,
    };
    Ok(connect(&server).await?.ready().await?)
}

/// One exit code for all: a container knows 1 as unhealthy, and 2 is not to be used.
fn unhealthy(why: &str) -> Stop {
    Stop::new(Exit::Usage, why)
}

/// The address that a daemon with the settings found here listens on.
fn of_settings(ca: Option<&Path>) -> Result<Server, Stop> {
    let loaded = config::load(&Args::default(), config::variables()).map_err(|e| Stop::usage(e.to_string()))?;
    let http = &loaded.config.http;
    let scheme = if loaded.config.tls.is_some() { "https" } else { "http" };
    Server::parse(&url(scheme, &http.host, http.port), authorities(ca).as_deref())
        .map_err(|e| Stop::usage(e.to_string()))
}

/// What listens on all addresses is asked on loopback.
fn url(scheme: &str, host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) if ip.is_unspecified() => format!("{scheme}://127.0.0.1:{port}"),
        Ok(IpAddr::V6(ip)) if ip.is_unspecified() => format!("{scheme}://[::1]:{port}"),
        Ok(IpAddr::V6(ip)) => format!("{scheme}://[{ip}]:{port}"),
        _ => format!("{scheme}://{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_asked_here() {
        for (host, expected) in [
            ("127.0.0.1", "http://127.0.0.1:1"),
            ("0.0.0.0", "http://127.0.0.1:1"),
            ("::", "http://[::1]:1"),
            ("::1", "http://[::1]:1"),
            ("queue.example", "http://queue.example:1"),
        ] {
            assert_eq!(url("http", host, 1), expected);
            assert!(Server::parse(&url("http", host, 1), None).is_ok(), "{host}");
        }
    }
}
