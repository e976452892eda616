//! A page in a headless Chromium, driven by the Chrome DevTools protocol.
#![allow(dead_code)] // Every test file that includes this one uses its own part of it.

use std::fs;
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::browser::{Browser, PATIENCE};

/// One tab.
pub(crate) struct Tab {
    socket: WebSocket<TcpStream>,
    session: Value,
    calls: u64,
    loads: u64,
    complaints: Vec<String>,
    _browser: Browser,
}

impl Tab {
    /// An empty tab; `None` where there is no browser.
    pub(crate) fn open(what: &str) -> Option<Tab> {
        let browser = Browser::open("about:blank", what)?;
        let said = browser.profile().join("DevToolsActivePort");
        let (port, path) = wait_for("the browser's port", || {
            let text = fs::read_to_string(&said).ok()?;
            let (port, path) = text.split_once('\n')?;
            (path.len() > 1).then(|| (port.to_owned(), path.to_owned()))
        });
        let stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(format!("ws://127.0.0.1:{port}{}", path.trim()), stream).unwrap();
        let mut tab =
            Tab { socket, session: Value::Null, calls: 0, loads: 0, complaints: Vec::new(), _browser: browser };
        let target = tab.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = tab.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        tab.session = attached["sessionId"].clone();
        for domain in ["Page", "Runtime", "Log"] {
            tab.call(&format!("{domain}.enable"), json!({}));
        }
        Some(tab)
    }

    /// Goes to an address and waits until its scripts have run.
    pub(crate) fn go(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        self.wait(&format!("document.readyState == 'complete' && location.href.startsWith({})", json!(url)));
    }

    /// Loads the page anew and waits until that is done: what is evaluated meanwhile fails, as its page goes away under it.
    pub(crate) fn reload(&mut self) {
        let loads_before = self.loads;
        self.call("Page.reload", json!({}));
        while self.loads == loads_before {
            self.read();
        }
    }

    /// What an expression gives; a promise is waited for.
    pub(crate) fn eval(&mut self, script: &str) -> Value {
        let asked = json!({ "expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let answer = self.call("Runtime.evaluate", asked);
        assert!(answer["exceptionDetails"].is_null(), "{script}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until an expression holds.
    pub(crate) fn wait(&mut self, script: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.eval(&format!("Boolean({script})")) != true {
            if Instant::now() >= deadline {
                let text = self.eval("document.body.innerText");
                panic!("waited too long for {script}; complaints: {:?}; the page says:\n{text}", self.complaints);
            }
            sleep(Duration::from_millis(30));
        }
    }

    /// Presses the first button with this text, or with one that begins so.
    pub(crate) fn press(&mut self, text: &str) {
        let found = format!(
            "(all => all.find(is => is.textContent === {0}) ?? all.find(is => is.textContent.startsWith({0})))(
                [...document.querySelectorAll('button')].filter(is => is.checkVisibility() && !is.disabled))",
            json!(text)
        );
        self.wait(&found);
        self.eval(&format!("{found}.click()"));
    }

    /// Fills in a field as typing does.
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.eval(&format!(
            "(field => {{ field.value = {text}; field.dispatchEvent(new Event('input', {{ bubbles: true }})); }})(document.querySelector({selector}))"
        ));
    }

    /// Presses a key, as `Escape`, `Tab` or `Enter`, where the focus is.
    pub(crate) fn key(&mut self, key: &str, code: u32) {
        for kind in ["rawKeyDown", "char", "keyUp"] {
            let text = if key == "Enter" && kind == "char" { "\r" } else { "" };
            if kind != "char" || !text.is_empty() {
                let event =
                    json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
                self.call("Input.dispatchKeyEvent", event);
            }
        }
    }

    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    pub(crate) fn dark(&mut self, is_dark: bool) {
        let value = if is_dark { "dark" } else { "light" };
        self.call(
            "Emulation.setEmulatedMedia",
            json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] }),
        );
    }

    /// What the browser found wrong so far: exceptions, errors, what the page's policy forbids.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        // What is under way comes before the answer.
        self.eval("0");
        std::mem::take(&mut self.complaints)
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut request = json!({ "id": self.calls, "method": method, "params": params });
        if !self.session.is_null() {
            request["sessionId"] = self.session.clone();
        }
        self.socket.send(Message::text(request.to_string())).unwrap();
        loop {
            let mut said = self.read();
            if said["id"] == self.calls {
                assert!(said["error"].is_null(), "{method}: {}", said["error"]);
                return said["result"].take();
            }
        }
    }

    /// The next answer or event.
    fn read(&mut self) -> Value {
        let text = loop {
            if let Message::Text(text) = self.socket.read().unwrap() {
                break text;
            }
        };
        let said: Value = serde_json::from_str(&text).unwrap();
        let params = &said["params"];
        let is_complaint = match said["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Log.entryAdded") => params["entry"]["level"] == "error",
            Some("Runtime.consoleAPICalled") => params["type"] == "error",
            _ => false,
        };
        if is_complaint {
            self.complaints.push(params.to_string());
        }
        self.loads += u64::from(said["method"] == "Page.loadEventFired");
        said
    }
}

fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        sleep(Duration::from_millis(20));
    }
}
