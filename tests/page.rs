//! The admin page. Goal: who opens it in a browser sees what is there, can do what it offers, takes nothing by looking, and is not
//! attacked by what strangers put into queues.
//!
//! Method: the real daemon and a headless Chromium, driven as a person would and asked for what it shows. What the browser complains
//! about (exceptions, what the policy forbids) is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

#[path = "common/browser.rs"]
mod browser;
mod common;
#[path = "common/devtools.rs"]
mod devtools;

use common::{Client, Daemon, get};
use devtools::Tab;
use rustix::process::Signal;
use serde_json::{Value, json};

const WHAT: &str = "the admin page";
/// A name and messages that would run as a program, were they taken for HTML.
const EVIL_NAME: &str = "<img src=x onerror=window.hit=1>";
const EVIL_TAG: &str = "<svg/onload=window.hit=2>";

fn daemon() -> Daemon {
    Daemon::start_fast(|setup| {
        setup.file("[queues.\"small\"]\nmax_len = 4\n");
    })
}

fn open(daemon: &Daemon) -> Option<Tab> {
    let mut tab = Tab::open(WHAT)?;
    tab.resize(1280, 900);
    tab.go(&url(daemon, "#/"));
    tab.wait("document.querySelector('#facts dd')");
    Some(tab)
}

fn url(daemon: &Daemon, hash: &str) -> String {
    format!("http://{}/{hash}", daemon.address())
}

fn put_all(client: &mut Client, queue: &str, count: usize) {
    for n in 0..count {
        client.put(queue, &format!(r#"{{"n":{n},"price":1.50}}"#));
    }
}

fn show_queue(tab: &mut Tab, name: &str) {
    tab.eval(&format!("location.hash = '#/queue/' + encodeURIComponent({})", json!(name)));
    tab.wait(&format!("document.querySelector('h1').textContent === {}", json!(name)));
}

/// The names in the table, from above.
fn names(tab: &mut Tab) -> Value {
    tab.eval("[...document.querySelectorAll('tbody th')].map(cell => cell.textContent)")
}

#[test]
fn each_file_comes_with_its_kind_its_policy_and_a_tag_that_saves_a_second_download() {
    let daemon = daemon();
    let client = &mut daemon.connect();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/?x=1", "text/html; charset=utf-8"),
        ("/page/page.css", "text/css; charset=utf-8"),
        ("/page/main.js", "text/javascript; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
    ] {
        let answer = client.ask(get(path));
        assert_eq!((answer.status, answer.header("Content-Type")), (200, Some(kind)), "{path}");
        assert_eq!(answer.header("Cache-Control"), Some("no-cache"));
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
        let policy = answer.header("Content-Security-Policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        let tag = answer.header("ETag").unwrap().to_owned();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nIf-None-Match: {tag}\r\n\r\n"));
        let known = client.read_head();
        assert_eq!((known.status, known.header("ETag")), (304, Some(&*tag)), "{path}");
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let head = client.read_head();
        assert_eq!(
            (head.status, head.header("Content-Length")),
            (200, Some(&*answer.body.len().to_string())),
            "{path}"
        );
        let refused = client.ask(format!("POST {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!((refused.status, refused.header("Allow")), (405, Some("GET, HEAD")), "{path}");
    }
}

#[test]
fn the_overview_shows_finds_and_sorts_all_queues_and_takes_nothing() {
    let daemon = daemon();
    let client = &mut daemon.connect();
    put_all(client, "beta", 3);
    put_all(client, "alpha", 1);
    put_all(client, "small", 4);
    let Some(mut tab) = open(&daemon) else { return };
    tab.wait("document.querySelectorAll('tbody tr').length === 3");
    assert_eq!(names(&mut tab), json!(["alpha", "beta", "small"]));
    let facts = tab.eval("document.getElementById('facts').innerText.replace(/\\s+/g, ' ')");
    let version = format!("version {}", env!("CARGO_PKG_VERSION"));
    for fact in [&*version, "engine sled", "sync never", "store", "up"] {
        assert!(facts.as_str().unwrap().contains(fact), "{facts}");
    }
    let tiles = tab.eval("[...document.querySelectorAll('.tiles .value')].map(value => value.textContent)");
    assert_eq!((&tiles[0], &tiles[1]), (&json!("3"), &json!("8")));
    let bar = tab.eval("document.querySelectorAll('tbody .unread')[2].innerText.replace(/\\s+/g, ' ')");
    assert_eq!(bar, "4 of 4 · full");

    tab.press("Unread");
    tab.wait("document.querySelector('tbody th').textContent === 'small'");
    assert_eq!(names(&mut tab), json!(["small", "beta", "alpha"]));
    assert_eq!(tab.eval("document.querySelector('[aria-sort]').getAttribute('aria-sort')"), "descending");
    tab.press("Unread");
    tab.wait("document.querySelector('tbody th').textContent === 'alpha'");

    // What comes while the page is open is shown without being asked for.
    put_all(client, "gamma", 1);
    tab.wait("document.querySelectorAll('tbody tr').length === 4");
    tab.fill("#filter", "ET");
    tab.wait("document.querySelectorAll('tbody tr').length === 1");
    assert_eq!(names(&mut tab), json!(["beta"]));
    assert_eq!(
        tab.eval("document.querySelector('.card .shell code').textContent"),
        format!("curl '{}'", url(&daemon, "v1/queues?name=ET"))
    );
    for (name, unread) in [("alpha", 1), ("beta", 3), ("small", 4)] {
        let status = client.status(name).unwrap();
        assert_eq!((&status["unread"], &status["get_pos"]), (&json!(unread), &Value::Null), "{name}");
    }
    assert_eq!(tab.complaints(), [""; 0]);
}

#[test]
fn of_more_queues_than_one_answer_has_all_can_be_reached() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("STORE_ENGINE", "memory");
    });
    let client = &mut daemon.connect();
    for n in 0..1100 {
        client.put(&format!("queue-{n:04}"), "1");
    }
    put_all(client, "queue-0777", 2);
    let Some(mut tab) = open(&daemon) else { return };
    tab.wait("document.querySelectorAll('tbody tr').length === 50");
    tab.press("Next");
    tab.wait("document.querySelector('tbody th').textContent === 'queue-0050'");
    tab.press("‹ Previous");
    tab.wait("document.querySelector('tbody th').textContent === 'queue-0000'");
    assert_eq!(
        tab.eval("[...document.querySelectorAll('thead button:disabled')].map(button => button.textContent)"),
        json!(["Kind", "put_pos", "get_pos", "Oldest"])
    );
    tab.press("Unread");
    tab.wait("document.querySelector('tbody th').textContent === 'queue-0777'");
    tab.fill("#filter", "queue-010");
    tab.wait("document.querySelectorAll('tbody tr').length === 10");
    tab.wait("document.querySelectorAll('thead button:disabled').length === 0");
    assert_eq!(tab.complaints(), [""; 0]);
}

#[test]
fn a_server_without_queues_says_how_to_begin_and_the_form_does_it() {
    let daemon = daemon();
    let Some(mut tab) = open(&daemon) else { return };
    tab.wait("document.querySelectorAll('.start code').length === 2");
    let lines = tab.eval("[...document.querySelectorAll('.start code')].map(line => line.textContent)");
    assert_eq!(
        lines[0],
        format!(r#"curl -X PUT {} -d '{{"name":"jobs","data":"resize 17.png"}}'"#, url(&daemon, "queue/"))
    );
    assert_eq!(lines[1], format!("curl '{}'", url(&daemon, "queue/?name=jobs")));
    tab.fill(".put input:not([type])", "first's");
    tab.fill(".put textarea", "it is é\n\"quoted\"");
    let line = tab.eval("document.querySelector('.put .shell code').textContent");
    assert!(line.as_str().unwrap().ends_with(r#"-d '{"name":"first'\''s","data":"it is é\n\"quoted\""}'"#), "{line}");
    tab.press("Put");
    tab.wait("document.querySelector('tbody a')?.textContent === \"first's\"");
    tab.wait("document.querySelector('.put .status').textContent === 'Stored at position 0.'");
    assert_eq!(daemon.connect().take("first's").as_deref(), Some(r#""it is é\n\"quoted\"""#));
    assert_eq!(tab.complaints(), [""; 0]);
}

#[test]
fn a_queue_shows_its_messages_as_they_came_and_looking_takes_none() {
    let daemon = daemon();
    let client = &mut daemon.connect();
    put_all(client, "jobs", 60);
    for _ in 0..3 {
        client.take("jobs");
    }
    client.put("other", "1");
    let Some(mut tab) = open(&daemon) else { return };
    show_queue(&mut tab, "jobs");
    tab.wait("document.querySelectorAll('.messages li').length === 20");
    let first = "document.querySelector('.messages .badge').textContent";
    assert_eq!(tab.eval(first), "next");
    tab.eval("document.querySelector('.messages details').open = true");
    tab.wait("document.querySelector('.messages pre')");
    assert_eq!(tab.eval("document.querySelector('.messages pre').textContent"), "{\n  \"n\": 3,\n  \"price\": 1.50\n}");
    tab.wait("document.querySelectorAll('.uplot canvas').length === 2");
    tab.press("Newest");
    tab.wait("[...document.querySelectorAll('.messages .place')].at(-1).textContent === '#59'");
    tab.press("‹ Older");
    tab.wait("document.querySelector('.messages .place').textContent === '#20'");
    tab.press("Next get");
    tab.wait("document.querySelector('.messages .place').textContent === '#3'");

    // It follows the next get, and what is put.
    assert_eq!(client.take("jobs").as_deref(), Some(r#"{"n":3,"price":1.50}"#));
    tab.wait("document.querySelector('.messages .place').textContent === '#4'");
    assert_eq!(client.status("jobs").unwrap()["unread"], 56);
    assert_eq!(tab.complaints(), [""; 0]);

    show_queue(&mut tab, "nobody");
    tab.wait("document.querySelector('.warning:not([hidden])')?.textContent.startsWith('There is no such queue')");
    tab.press("Put");
    tab.wait("document.querySelector('.messages li')");
}

#[test]
fn the_tail_shows_what_is_put_and_the_form_puts_json_as_it_stands() {
    let daemon = daemon();
    let client = &mut daemon.connect();
    client.put("news", "0");
    let Some(mut tab) = open(&daemon) else { return };
    show_queue(&mut tab, "news");
    tab.press("Start");
    tab.wait("[...document.querySelectorAll('.status')].some(status => status.textContent === 'Live')");
    tab.eval("document.querySelector('input[value=json]').click()");
    tab.fill(".put textarea", "{\"price\": 1.50,");
    tab.press("Put");
    tab.wait("document.querySelector('.put .status.bad')?.textContent.startsWith('This is no JSON')");
    tab.fill(".put textarea", r#"{"price":1.50,"é":12345678901234567890}"#);
    tab.press("Put");
    tab.wait("document.querySelector('.put .status').textContent === 'Stored at position 1.'");
    let newest = |text: &str| format!("document.querySelector('.live code')?.textContent === {}", json!(text));
    tab.wait(&newest(r#"{"price":1.50,"é":12345678901234567890}"#));
    for message in [r#""é <b>""#, "[1,2.50]", "{}"] {
        client.put("news", message);
        tab.wait(&newest(message));
    }
    tab.press("Stop");
    assert_eq!(client.status("news").unwrap()["unread"], 5);
    assert_eq!(client.take("news").as_deref(), Some("0"));
    assert_eq!(client.take("news").as_deref(), Some(r#"{"price":1.50,"é":12345678901234567890}"#));
    assert_eq!(tab.complaints(), [""; 0]);
}

#[test]
fn purge_and_reset_want_the_name_typed_and_work_by_keyboard() {
    let daemon = daemon();
    let client = &mut daemon.connect();
    put_all(client, "jobs", 3);
    let Some(mut tab) = open(&daemon) else { return };
    show_queue(&mut tab, "jobs");
    tab.press("Reset…");
    tab.wait("document.activeElement.closest('dialog[open]')");
    tab.fill("dialog[open] input", "job");
    tab.key("Enter", 13);
    assert_eq!(tab.eval("document.querySelector('dialog[open] [type=submit]').disabled"), true);
    tab.key("Escape", 27);
    tab.wait("!document.querySelector('dialog[open]')");
    assert_eq!(client.status("jobs").unwrap()["put_pos"], 3);

    tab.press("Purge…");
    tab.fill("dialog[open] input", "jobs");
    tab.key("Enter", 13);
    tab.wait("document.body.innerText.includes('Purged: 3 unread messages are gone.')");
    let status = client.status("jobs").unwrap();
    assert_eq!((&status["unread"], &status["put_pos"]), (&json!(0), &json!(3)));

    tab.press("Reset…");
    tab.fill("dialog[open] input", "jobs");
    tab.key("Enter", 13);
    tab.wait("document.body.innerText.includes('Reset: the queue is empty and begins at position 0.')");
    assert_eq!(client.status("jobs").unwrap()["put_pos"], 0);
    assert_eq!(tab.complaints(), [""; 0]);
}

#[test]
fn a_queue_is_created_set_and_deleted_by_forms_that_say_what_they_do() {
    let daemon = daemon();
    let client = &mut daemon.connect();
    let Some(mut tab) = open(&daemon) else { return };
    tab.wait("document.getElementById('create')");
    tab.eval("document.getElementById('create').open = true");
    tab.fill("#create input", "orders");
    tab.fill("#create input[id$=max_len]", "3");
    let line = tab.eval("document.querySelector('#create .shell code').textContent");
    let target = url(&daemon, "v1/queues/orders");
    assert_eq!(line, format!(r#"curl -X PUT {target} -d '{{"kind":"work","max_len":3}}'"#));
    tab.press("Create");
    tab.wait("document.querySelector('tbody a')?.textContent === 'orders'");
    let shown = |client: &mut Client| client.ask(get("/v1/queues/orders")).json();
    assert_eq!(shown(client)["own"], json!({"max_len": 3, "history": null, "overflow": null}));
    tab.fill("#create input[id$=max_len]", "4");
    tab.press("Create");
    tab.wait(
        "document.querySelector('#create .status.bad')?.textContent.startsWith('there is a work queue of this name')",
    );

    show_queue(&mut tab, "orders");
    let set = "document.querySelector('form.set')";
    tab.wait(&format!("{set}?.querySelector('[id$=max_len]').value === '3'"));
    let hint = tab.eval(&format!("{set}.querySelector('[id$=history]').placeholder"));
    assert_eq!(hint, "10, as configured");
    tab.eval(&format!(
        "(select => {{ select.value = 'drop_oldest'; select.dispatchEvent(new Event('input', {{ bubbles: true }})); }})\
         ({set}.querySelector('[id$=overflow]'))"
    ));
    tab.fill("form.set [id$=max_len]", "2");
    let line = tab.eval(&format!("{set}.querySelector('.shell code').textContent"));
    assert_eq!(line, format!(r#"curl -X PATCH {target} -d '{{"max_len":2,"history":null,"overflow":"drop_oldest"}}'"#));
    tab.press("Save");
    tab.wait(&format!("{set}.querySelector('.status').textContent.startsWith('Saved')"));
    put_all(client, "orders", 5);
    tab.wait("document.body.innerText.includes('3 gave way to newer ones since the start')");
    assert_eq!(client.take("orders").as_deref(), Some(r#"{"n":3,"price":1.50}"#));

    tab.press("Delete…");
    tab.fill("dialog[open] input", "orders");
    tab.key("Enter", 13);
    tab.wait("location.hash === '#/' && document.querySelectorAll('.start code').length === 2");
    assert_eq!(client.ask(get("/v1/queues/orders")).status, 404);
    // The browser itself remarks on the refusal that was meant.
    let complaints = tab.complaints();
    assert!(complaints.iter().all(|complaint| complaint.contains("409 (Conflict)")), "{complaints:?}");
}

#[test]
fn names_and_messages_of_strangers_are_text() {
    let daemon = daemon();
    let client = &mut daemon.connect();
    for name in [
        EVIL_NAME,
        EVIL_TAG,
        "\"'><script>window.hit=3</script>",
        "javascript:window.hit=4",
        "%2e%2e/a?b#c",
        "..",
        "a\u{202e}b",
    ] {
        client
            .put(&name.replace('"', "\\\""), r#"{"<img src=x onerror=window.hit=5>":"<script>window.hit=6</script>"}"#);
    }
    let Some(mut tab) = open(&daemon) else { return };
    tab.wait("document.querySelectorAll('tbody tr').length === 7");
    for name in [EVIL_NAME, EVIL_TAG, "\"'><script>window.hit=3</script>", "%2e%2e/a?b#c"] {
        tab.eval(&format!(
            "[...document.querySelectorAll('tbody a')].find(link => link.textContent === {}).click()",
            json!(name)
        ));
        tab.wait(&format!("document.querySelector('h1').textContent === {}", json!(name)));
        tab.wait("document.querySelectorAll('.messages li').length === 1");
        tab.eval("document.querySelector('.messages details').open = true");
        tab.wait("document.querySelector('.messages pre')?.textContent.includes('<script>')");
        tab.press("Reset…");
        tab.press("Cancel");
        tab.eval("location.hash = '#/'");
        tab.wait("document.querySelectorAll('tbody tr').length === 7");
    }
    show_queue(&mut tab, EVIL_TAG);
    tab.press("Start");
    tab.wait("[...document.querySelectorAll('.status')].some(status => status.textContent === 'Live')");
    client.put(EVIL_TAG, "\"<img src=x onerror=window.hit=7>\"");
    tab.wait("document.querySelector('.live code')?.textContent.includes('<img')");
    assert_eq!(tab.eval("[window.hit ?? null, document.images.length, document.scripts.length]"), json!([null, 0, 2]));
    assert_eq!(tab.complaints(), [""; 0]);
    // The rules of addresses take this name for a step, so no browser can ask for it.
    show_queue(&mut tab, "..");
    tab.wait("document.getElementById('banner').textContent.includes('A browser cannot ask')");
}

#[test]
fn dark_and_light_can_be_read_and_a_phone_shows_all() {
    let daemon = daemon();
    let client = &mut daemon.connect();
    put_all(client, "jobs", 3);
    put_all(client, "small", 4);
    client.put(&"long-name-without-end-".repeat(9), "1");
    let Some(mut tab) = open(&daemon) else { return };
    let mut grounds = Vec::new();
    for is_dark in [false, true] {
        tab.dark(is_dark);
        grounds.push(tab.eval("getComputedStyle(document.body).backgroundColor"));
        for (width, hash) in [(1280, "#/"), (390, "#/"), (390, "#/queue/jobs"), (1280, "#/queue/jobs")] {
            tab.resize(width, 844);
            tab.eval(&format!("location.hash = '{hash}'"));
            tab.wait(if hash == "#/" {
                "document.querySelector('tbody tr')"
            } else {
                "document.querySelector('.uplot')"
            });
            let wide = tab.eval("document.documentElement.scrollWidth");
            assert!(wide.as_u64().unwrap() <= u64::from(width), "{hash} is {wide} wide on {width}");
            assert_eq!(tab.eval(TOO_FAINT), json!([]), "{hash} on {width}, dark: {is_dark}");
            assert_eq!(tab.eval(NAMELESS), json!([]), "{hash}");
        }
    }
    assert_ne!(grounds[0], grounds[1]);
    assert_eq!(tab.complaints(), [""; 0]);
}

/// Texts with less contrast than 4.5 : 1 (WCAG 2.2, 1.4.3; what is disabled is exempt).
const TOO_FAINT: &str = r"(() => {
    const parse = colour => colour.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = element => {
        for (let at = element; at; at = at.parentElement) {
            const colour = parse(getComputedStyle(at).backgroundColor);
            if (colour[3] !== 0) return colour;
        }
        return [255, 255, 255];
    };
    const faint = [];
    for (const element of document.querySelectorAll('body *')) {
        const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
        if (!own || !element.checkVisibility() || element.closest(':disabled')) continue;
        const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) faint.push(`${element.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
    }
    return faint;
})()";

/// Things to press or fill in that have no name to read out.
const NAMELESS: &str = "[...document.querySelectorAll('button, a, input, select, textarea')].filter(one => one.checkVisibility() \
    && !(one.labels?.length || one.textContent.trim() || one.getAttribute('aria-label'))).map(one => one.outerHTML)";

#[test]
fn a_server_that_is_gone_is_said_and_found_again() {
    let daemon = daemon();
    put_all(&mut daemon.connect(), "jobs", 2);
    let Some(mut tab) = open(&daemon) else { return };
    tab.wait("document.querySelectorAll('tbody tr').length === 1");
    tab.eval("(every => { every.value = '1000'; every.dispatchEvent(new Event('change')); })(document.getElementById('every'))");
    let port = daemon.address().port();
    let ended = daemon.stop(Signal::TERM);
    tab.wait("document.getElementById('banner').textContent.startsWith('No answer from 127.0.0.1')");
    assert_eq!(names(&mut tab), json!(["jobs"]));
    let daemon = ended
        .with(|setup| {
            setup.set("PORT", port);
        })
        .start_again();
    put_all(&mut daemon.connect(), "more", 1);
    tab.wait("document.getElementById('banner').hidden && document.querySelectorAll('tbody tr').length === 2");
}

/// What a token of a test is in httpmq.toml; the secret is `hmq_page`.
fn token(rights: &str) -> String {
    use httpmq::access::{Secret, token::hex};
    let sha256 = hex(&Secret::parse("hmq_page").unwrap().sha256());
    format!("[auth.tokens.page]\nsha256 = \"{sha256}\"\nqueues = [\"jobs\", \"news\"]\nrights = {rights}\n")
}

#[test]
fn a_server_with_tokens_asks_for_one_and_shows_what_it_may() {
    let daemon = Daemon::start_fast(|setup| {
        setup.file(&token(r#"["read", "write"]"#));
    });
    let Some(mut tab) = Tab::open(WHAT) else { return };
    tab.resize(1280, 900);
    tab.go(&url(&daemon, "#/"));
    tab.wait("document.activeElement.closest('dialog[open]')");
    assert_eq!(tab.eval(NAMELESS), json!([]));
    assert_eq!(tab.eval(TOO_FAINT), json!([]));
    tab.fill("#token-field", "hmq_wrong");
    tab.key("Enter", 13);
    tab.wait("document.querySelector('dialog[open] .bad')?.textContent === 'The server says: nobody has this token'");
    tab.key("Escape", 27);
    tab.wait("document.getElementById('banner').textContent === 'The server answers 401: nobody has this token'");
    tab.press("Token…");
    tab.fill("#token-field", " hmq_page ");
    tab.key("Enter", 13);
    tab.wait("document.querySelectorAll('.start code').length === 2 && document.getElementById('banner').hidden");
    let line = tab.eval("document.querySelector('.start code').textContent");
    assert!(line.as_str().unwrap().contains(r#"-H "Authorization: Bearer $HTTPMQ_TOKEN""#), "{line}");
    assert_eq!(tab.eval("document.documentElement.outerHTML.includes('hmq_page')"), false);
    assert_eq!(
        tab.eval("JSON.stringify(localStorage).includes('hmq_page') || document.cookie.includes('hmq_page')"),
        false
    );
    tab.press("Put");
    tab.wait("document.querySelector('tbody a')?.textContent === 'jobs'");

    // It is there as long as the tab is, for the live tail too.
    tab.go(&url(&daemon, "#/queue/jobs"));
    tab.reload();
    tab.wait("document.querySelectorAll('.messages li').length === 1");
    tab.press("Start");
    tab.wait("[...document.querySelectorAll('.status')].some(status => status.textContent === 'Live')");
    tab.press("Put");
    tab.wait("document.querySelector('.live code')?.textContent === '\"resize 17.png\"'");
    tab.press("Reset…");
    tab.fill("dialog[open] input", "jobs");
    tab.key("Enter", 13);
    tab.wait("document.querySelector('dialog[open] [role=alert]')?.textContent.includes('lacks the right admin')");
    tab.press("Cancel");
    tab.press("Token…");
    tab.press("Forget it");
    tab.wait("document.getElementById('banner').textContent.startsWith('The server answers 401')");
    assert_eq!(tab.eval("sessionStorage.length"), 0);
    // A browser says of each answer of status 400 and more that it failed.
    let complaints: Vec<String> =
        tab.complaints().into_iter().filter(|text| !text.contains("responded with a status of 40")).collect();
    assert_eq!(complaints, [""; 0]);
}

#[test]
fn a_server_that_refuses_puts_says_why() {
    let daemon = Daemon::start_fast(|setup| {
        setup.set("STORE_DISK_RESERVE_BYTES", "1024 GiB");
    });
    let Some(mut tab) = open(&daemon) else { return };
    tab.wait("document.getElementById('banner').textContent.startsWith('Puts are refused: ')");
    tab.press("Put");
    tab.wait("document.querySelector('.put .status.bad')?.textContent.startsWith('The server answers 507: The disk')");
}

#[test]
fn json_is_laid_out_without_a_change_to_what_it_says() {
    let daemon = daemon();
    let Some(mut tab) = open(&daemon) else { return };
    let texts = json!([
        r#"{"a":[1,{"b":[]},"x,]}"],"a":1.50e+99,"":{}}"#,
        r#" [ 1 , 2 ] "#,
        r#""é \u00e9 \" \\ [""#,
        "12345678901234567890",
        "null",
        "[[],[[]],{\"k\\\\\":\"\\\"\"}]"
    ]);
    let laid = tab.eval(&format!("import('/page/json.js').then(json => {texts}.map(json.pretty))"));
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    for (text, laid) in texts.as_array().unwrap().iter().zip(laid.as_array().unwrap()) {
        assert_eq!(squeezed(laid.as_str().unwrap()), squeezed(text.as_str().unwrap()));
    }
    assert_eq!(
        laid[0],
        "{\n  \"a\": [\n    1,\n    {\n      \"b\": []\n    },\n    \"x,]}\"\n  ],\n  \"a\": 1.50e+99,\n  \"\": {}\n}"
    );
    let members = tab
        .eval(&format!("import('/page/json.js').then(json => [json.members({0}[0]), json.elements({0}[5])])", texts));
    assert_eq!(members[0], json!([["a", r#"[1,{"b":[]},"x,]}"]"#], ["a", "1.50e+99"], ["", "{}"]]));
    assert_eq!(members[1], json!(["[]", "[[]]", r#"{"k\\":"\""}"#]));
}
