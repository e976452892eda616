//! openapi.yaml against the real daemon. Goal: what the file says is what is answered, and what is answered is in the file.
//!
//! Method: every path of the file is asked, in all states that change the shape of an answer, and each answer is checked with the
//! schema that the file has for its status and type. A schema of an object has every field as required and allows no other, so a
//! field that is only in the file, or only in the answer, is found either way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::{Client, Daemon, get, request};
use serde_json::Value;

struct OpenApi(Value);

impl OpenApi {
    fn read() -> OpenApi {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.yaml")).unwrap();
        OpenApi(serde_yaml_ng::from_str(&text).unwrap())
    }

    fn paths(&self) -> BTreeSet<&str> {
        self.0["paths"].as_object().unwrap().keys().map(String::as_str).collect()
    }

    /// The methods of a path, as its header `Allow` has them.
    fn methods(&self, path: &str) -> BTreeSet<String> {
        let found = self.0["paths"][path].as_object().unwrap().keys().filter(|key| *key != "parameters");
        found.map(|key| key.to_uppercase()).chain(["HEAD".to_owned()]).collect()
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(to) => self.0.pointer(to.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("there is no {to}")),
            None => value,
        }
    }

    /// Asks a path of the file, in that place, and checks the answer.
    fn ask(&self, client: &mut Client, path: &str, target: &str) -> Value {
        self.check(client, "GET", path, target, 0).1
    }

    /// The same, for an answer with that status.
    fn refused(&self, client: &mut Client, path: &str, target: &str, status: u16) -> Value {
        let (found, problem) = self.check(client, "GET", path, target, status);
        assert_eq!((found, &problem["status"]), (status, &Value::from(status)), "{target}");
        problem
    }

    fn check(&self, client: &mut Client, method: &str, path: &str, target: &str, expected: u16) -> (u16, Value) {
        self.check_body(client, method, path, target, "", expected)
    }

    fn check_body(
        &self,
        client: &mut Client,
        method: &str,
        path: &str,
        target: &str,
        body: &str,
        expected: u16,
    ) -> (u16, Value) {
        let response = match body {
            "" => client.ask(get(target).strip_prefix(b"GET").map(|rest| [method.as_bytes(), rest].concat()).unwrap()),
            body => client.ask(request(method, target, body)),
        };
        let about = format!("{method} {target}: {} {}", response.status, response.text());
        assert!(expected == response.status || (expected == 0 && response.status == 200), "{about}");
        let known = self.methods(path).contains(method);
        let operation = if known { method.to_lowercase() } else { "get".to_owned() };
        let said = &self.0["paths"][path][operation]["responses"][response.status.to_string()];
        assert!(said.is_object(), "{about}: the file has no such status");
        let content = self.resolve(said)["content"].as_object().unwrap();
        let kind = response.header("Content-Type").unwrap().split(';').next().unwrap();
        let schema = content.get(kind).unwrap_or_else(|| panic!("{about}: the file has no {kind}"));
        assert_eq!(response.header("Content-Length"), Some(&*response.body.len().to_string()), "{about}");
        let value = if kind.ends_with("json") { response.json() } else { Value::from(response.text()) };
        self.fits(&schema["schema"], &value, &about);
        (response.status, value)
    }

    /// Checks a value with a schema, as far as this file uses the language of schemas.
    fn fits(&self, schema: &Value, value: &Value, about: &str) {
        let schema = self.resolve(schema);
        let known = ["type", "description", "enum", "items", "properties", "required", "additionalProperties"];
        assert!(
            schema.as_object().unwrap().keys().all(|key| known.contains(&&**key)),
            "{schema} says more than is checked"
        );
        let types: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            Value::Array(all) => all.iter().map(|one| one.as_str().unwrap()).collect(),
            _ => return assert!(schema.get("type").is_none()),
        };
        let is = |kind: &&str| match *kind {
            "integer" => value.is_u64(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            "null" => value.is_null(),
            other => panic!("{other}"),
        };
        assert!(types.iter().any(is), "{about}: {value} is not {types:?}");
        if let Some(allowed) = schema["enum"].as_array() {
            assert!(allowed.contains(value), "{about}: {value} is none of {allowed:?}");
        }
        for item in value.as_array().into_iter().flatten() {
            self.fits(&schema["items"], item, about);
        }
        if let Some(object) = value.as_object() {
            let fields: BTreeSet<&String> = object.keys().collect();
            let properties = schema["properties"].as_object().unwrap();
            assert_eq!(fields, properties.keys().collect(), "{about}: the fields");
            let required = schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
            assert_eq!(properties.keys().cloned().collect::<BTreeSet<_>>(), required.collect(), "all are required");
            assert_eq!(schema["additionalProperties"], Value::Bool(false), "{schema}");
            object.iter().for_each(|(name, field)| self.fits(&properties[name], field, about));
        }
    }
}

#[test]
fn every_path_is_answered_as_the_file_says() {
    let api = OpenApi::read();
    let daemon = Daemon::start_fast(|_| ());
    let mut client = daemon.connect();
    let mut asked = BTreeSet::new();
    let mut ask = |client: &mut Client, path: &'static str, target: &str| {
        asked.insert(path);
        api.ask(client, path, target)
    };
    ask(&mut client, "/v1/queues", "/v1/queues");
    ask(&mut client, "/v1/stats", "/v1/stats");
    client.put("jobs", "\"a\"");
    client.put("jobs", "{\"b\":[1, 2.50]}");
    client.take("jobs");
    let mut wire = daemon.wire();
    wire.subscribe("news");
    wire.publish("news", "{\"x\":1}");
    for target in ["/v1/queues", "/v1/queues?limit=1", "/v1/queues?sort=unread", "/v1/queues?name=JO&after=a"] {
        ask(&mut client, "/v1/queues", target);
    }
    ask(&mut client, "/v1/queues/{name}", "/v1/queues/jobs");
    ask(&mut client, "/v1/queues/{name}", "/v1/queues/news");
    for target in ["jobs/messages", "jobs/messages?from=0&limit=1", "news/messages?from=0", "jobs/messages?from=99"] {
        ask(&mut client, "/v1/queues/{name}/messages", &format!("/v1/queues/{target}"));
    }
    let queue = "/v1/queues/{name}";
    let mut change = |method: &str, name: &str, body: &str, expected| {
        api.check_body(&mut client, method, queue, &format!("/v1/queues/{name}"), body, expected).1
    };
    assert_eq!(change("PUT", "made", "", 201)["kind"], "work");
    assert_eq!(change("PUT", "made", r#"{"kind":"work"}"#, 200)["own"]["max_len"], Value::Null);
    assert_eq!(change("PUT", "made", r#"{"kind":"topic"}"#, 409)["code"], "queue_exists");
    assert_eq!(change("PUT", "a%00", "", 400)["code"], "bad_request");
    assert_eq!(change("PATCH", "made", r#"{"max_len":5,"overflow":"drop_oldest"}"#, 200)["own"]["max_len"], 5);
    assert_eq!(change("PATCH", "made", r#"{"max_len":0}"#, 400)["code"], "bad_request");
    assert_eq!(change("PATCH", "nobody", r#"{"max_len":5}"#, 404)["code"], "queue_not_found");
    assert_eq!(change("DELETE", "made", "", 200)["unread"], 0);
    assert_eq!(change("DELETE", "made", "", 404)["code"], "queue_not_found");
    let messages = "/v1/queues/{name}/messages";
    let (_, purged) = api.check(&mut client, "DELETE", messages, "/v1/queues/jobs/messages", 200);
    assert_eq!(purged["purged"], 1);
    api.check(&mut client, "DELETE", messages, "/v1/queues/nobody/messages", 404);
    api.check(&mut client, "DELETE", messages, "/v1/queues/jobs/messages?limit=1", 400);
    for path in ["/v1/stats", "/metrics", "/healthz", "/readyz"] {
        ask(&mut client, path, path);
    }
    let served = ask(&mut client, "/openapi.yaml", "/openapi.yaml");
    assert_eq!(serde_yaml_ng::from_str::<Value>(served.as_str().unwrap()).unwrap(), api.0);
    assert_eq!(asked, api.paths());
}

#[test]
fn every_refusal_is_a_problem_of_the_shape_in_the_file() {
    let api = OpenApi::read();
    let daemon = Daemon::start_fast(|_| ());
    let mut client = daemon.connect();
    for path in api.paths() {
        let target = path.replace("{name}", "q");
        let problem = api.refused(&mut client, path, &format!("{target}?nonsense=1"), 400);
        assert_eq!(problem["code"], "bad_request");
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            if api.methods(path).contains(method) {
                continue;
            }
            let response = client.ask(request(method, &target, ""));
            let allowed: BTreeSet<String> = response.header("Allow").unwrap().split(", ").map(str::to_owned).collect();
            assert_eq!((response.status, allowed), (405, api.methods(path)), "{method} {target}");
            api.check(&mut client, method, path, &target, 405);
        }
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let head = client.read_head();
        let expected = if path.contains("{name}") { 404 } else { 200 };
        assert_eq!(head.status, expected, "HEAD {target}");
    }
    for path in ["/v1/queues/{name}", "/v1/queues/{name}/messages"] {
        let target = path.replace("{name}", "nobody%2F");
        assert_eq!(api.refused(&mut client, path, &target, 404)["code"], "queue_not_found");
        let target = path.replace("{name}", "a%00");
        assert_eq!(api.refused(&mut client, path, &target, 404)["code"], "queue_not_found");
        let target = path.replace("{name}", "%ff");
        api.refused(&mut client, path, &target, 400);
    }
    for target in ["/v1/", "/v1/queue", "/v1/queues/", "/v1/queues/a/b"] {
        assert_eq!(api.refused(&mut client, "/v1/queues/{name}", target, 404)["code"], "not_found");
    }
    let full = Daemon::start_fast(|setup| {
        setup.set("STORE_DISK_RESERVE_BYTES", "1024 GiB");
    });
    let problem = api.refused(&mut full.connect(), "/readyz", "/readyz", 503);
    assert_eq!(problem["code"], "storage_full");
    let (path, target) = ("/v1/queues/{name}", "/v1/queues/q");
    let (_, refused) = api.check_body(&mut full.connect(), "PUT", path, target, "{}", 507);
    assert_eq!(refused["code"], "storage_full");
    let stats = api.ask(&mut full.connect(), "/v1/stats", "/v1/stats");
    assert_eq!((&stats["ready"], &stats["trouble"]), (&Value::Bool(false), &problem["detail"]));
}

#[test]
fn a_body_that_came_with_a_look_is_never_taken_for_a_request() {
    let daemon = Daemon::start_fast(|_| ());
    let mut client = daemon.connect();
    let hidden = "PUT /queue/ HTTP/1.1\r\nHost: x\r\nContent-Length: 23\r\n\r\n{\"name\":\"q\",\"data\":1}  ";
    let response = client.ask(request("GET", "/v1/stats", hidden));
    assert_eq!((response.status, response.header("Connection")), (200, Some("close")));
    assert!(client.is_closed());
    assert_eq!(daemon.connect().ask(get("/v1/queues/q")).status, 404);
}
