//! The demo page on the admin port: it is served, complete, and loads nothing from other hosts.

use support::broker::TestBroker;
use support::http::{Answer, ask, request};

async fn get(broker: &TestBroker, path: &str) -> Answer {
    let request = request("GET", path, &["Connection: close"]);
    ask(broker.broker.admin().unwrap(), &request).await
}

/// Returns what follows each of these in a text, up to a quotation mark.
fn quoted<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    text.split(before)
        .skip(1)
        .map(|rest| rest.split(['"', '\'']).next().unwrap())
        .collect()
}

/// Returns the names of all files that the page refers to.
async fn files(broker: &TestBroker) -> Vec<String> {
    let page = get(broker, "/demo/").await.body;
    let named = [quoted(&page, "src=\""), quoted(&page, "href=\"")].concat();
    let mut files: Vec<_> = named.into_iter().map(str::to_owned).collect();
    // The link that opens a second tab.
    files.retain(|name| name != "./");
    let mut next = 0;
    while next < files.len() {
        let is_script = matches!(files[next].rsplit_once('.'), Some((_, "js")));
        if is_script && !files[next].starts_with("vendor/") {
            let script = get(broker, &format!("/demo/{}", files[next])).await.body;
            let imports = quoted(&script, "from './").into_iter();
            let workers = quoted(&script, "new Worker('").into_iter();
            for name in imports.chain(workers) {
                if !files.iter().any(|known| known == name) {
                    files.push(name.to_owned());
                }
            }
        }
        next += 1;
    }
    files.sort();
    files.dedup();
    files
}

#[tokio::test]
async fn the_page_and_all_its_files_are_served_with_their_types() {
    let broker = TestBroker::start().await;
    let page = get(&broker, "/demo/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.all("content-type"), ["text/html; charset=utf-8"]);
    let files = files(&broker).await;
    assert!(files.len() > 10, "{files:?}");
    for name in files {
        let answer = get(&broker, &format!("/demo/{name}")).await;
        assert_eq!(answer.status, 200, "{name}");
        let content = match name.rsplit('.').next().unwrap() {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("{name}: unknown type {other}"),
        };
        assert_eq!(answer.all("content-type"), [content], "{name}");
        assert_eq!(answer.all("x-content-type-options"), ["nosniff"], "{name}");
        let caching = if name.starts_with("vendor/") {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        assert_eq!(answer.all("cache-control"), [caching], "{name}");
    }
    let licence = get(&broker, "/demo/vendor/stompjs-7.5.0.LICENSE.txt").await;
    assert!(licence.body.contains("Apache License"));
    assert_eq!(get(&broker, "/demo/nothing").await.status, 404);
}

#[tokio::test]
async fn the_page_refers_to_no_other_host_and_has_no_inline_script() {
    let broker = TestBroker::start().await;
    for name in files(&broker).await.into_iter().chain([String::new()]) {
        if name.starts_with("vendor/") {
            continue;
        }
        let text = get(&broker, &format!("/demo/{name}")).await.body;
        let text = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("//cdn") && !text.contains("http:"), "{name}");
        assert!(!text.contains("https:/"), "{name}");
        assert!(
            !text.contains("url(") && !text.contains("@import"),
            "{name}"
        );
    }
    let page = get(&broker, "/demo/").await.body;
    for inline in [
        "<style",
        "style=",
        "onclick",
        "onload",
        "<script>",
        "javascript:",
    ] {
        assert!(!page.contains(inline), "{inline}");
    }
}

#[tokio::test]
async fn the_content_security_policy_allows_connections_to_this_broker_only() {
    let broker = TestBroker::start().await;
    let page = get(&broker, "/demo/").await;
    let port = broker.websocket().port();
    let [policy] = page.all("content-security-policy")[..] else {
        panic!("one policy is expected: {}", page.head);
    };
    let directives: Vec<_> = policy.split("; ").collect();
    let connect = format!("connect-src 'self' ws://*:{port} wss://*:{port}");
    assert!(directives.contains(&"default-src 'none'"), "{policy}");
    assert!(directives.contains(&"script-src 'self'"), "{policy}");
    assert!(directives.contains(&"frame-ancestors 'none'"), "{policy}");
    assert!(directives.contains(&connect.as_str()), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[tokio::test]
async fn the_page_learns_the_websocket_address() {
    let broker = TestBroker::with(|config| {
        config.listen.paths = vec!["/a\"b\\".to_owned(), "/ws".to_owned()];
    })
    .await;
    let settings = get(&broker, "/demo/settings.json").await;
    assert_eq!(settings.all("content-type"), ["application/json"]);
    assert_eq!(settings.all("cache-control"), ["no-cache"]);
    let (port, version) = (broker.websocket().port(), env!("CARGO_PKG_VERSION"));
    let expected = format!(r#"{{"path":"/a\"b\\","port":{port},"version":"{version}"}}"#);
    assert_eq!(settings.body, expected);
}

#[tokio::test]
async fn the_page_learns_that_there_is_no_websocket() {
    let broker = TestBroker::with(|config| config.listen.websocket = None).await;
    let settings = get(&broker, "/demo/settings.json").await;
    assert!(
        settings.body.contains(r#""port":null"#),
        "{}",
        settings.body
    );
    let page = get(&broker, "/demo/").await;
    assert!(!page.all("content-security-policy")[0].contains("ws:"));
}

#[tokio::test]
async fn the_root_leads_to_it() {
    let broker = TestBroker::start().await;
    for path in ["/", "/demo"] {
        let answer = get(&broker, path).await;
        assert_eq!(answer.status, 307, "{path}");
        assert_eq!(answer.all("location"), ["/demo/"], "{path}");
    }
}

#[tokio::test]
async fn it_can_be_turned_off() {
    let broker = TestBroker::with(|config| config.admin.demo = false).await;
    for path in [
        "/",
        "/demo",
        "/demo/",
        "/demo/settings.json",
        "/demo/demo.js",
    ] {
        assert_eq!(get(&broker, path).await.status, 404, "{path}");
    }
    assert_eq!(get(&broker, "/healthz").await.status, 200);
}
