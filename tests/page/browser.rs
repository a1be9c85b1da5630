//! A headless Chromium with a window of a given size, through chromedriver's WebDriver interface.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::record::{PATIENCE, within};

/// A browser with one window; ended when dropped.
#[derive(Debug)]
pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Opens a window this wide, in CSS pixels.
    pub(crate) async fn open(width: u32) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let (driver, address) = start(&profile).await;
        let mut browser = Self { driver, address, session: String::new(), _profile: profile };
        let mut arguments: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
        let folder = browser._profile.path().join("chromium");
        arguments.push(format!("--user-data-dir={}", folder.display()));
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments},
        }}});
        let session = browser.call("POST", "/session", &wanted).await;
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        let size =
            json!({"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 500});
        let order = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": size});
        browser.post("/goog/cdp/execute", &order).await;
        browser
    }

    /// Goes to a page and waits until it has loaded.
    pub(crate) async fn go(&self, url: &str) {
        self.post("/url", &json!({"url": url})).await;
    }

    /// The value of a JavaScript expression on the page.
    pub(crate) async fn eval(&self, expression: &str) -> Value {
        let script = format!("return ({expression})");
        self.post("/execute/sync", &json!({"script": script, "args": []})).await
    }

    /// Waits until the expression is true. A page has no events that could be waited for from outside,
    /// so it is asked again and again.
    pub(crate) async fn until(&self, expression: &str) {
        let asked = async { while self.eval(expression).await != Value::Bool(true) {} };
        if tokio::time::timeout(PATIENCE, asked).await.is_err() {
            let text = self.eval("document.body.innerText").await;
            panic!("never came true: {expression}\n{text}");
        }
    }

    /// What the page complained about since the last time: errors and warnings of the console.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({"type": "browser"})).await;
        let lines = log.as_array().unwrap().iter();
        lines.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Nothing reaches over the right edge.
    pub(crate) async fn fits(&self) {
        let wide = self
            .eval(
                "[document.documentElement.scrollWidth, innerWidth, \
                 [...document.querySelectorAll('body *')]\
                 .filter(one => one.getBoundingClientRect().right > innerWidth + 1)\
                 .map(one => one.outerHTML.slice(0, 80))]",
            )
            .await;
        let [width, window] = [0, 1].map(|place| wide[place].as_u64().unwrap());
        assert!(width <= window && wide[2] == json!([]), "{wide}");
    }

    /// Keeps a picture of the whole page where `PAGE_SCREENSHOTS` says, if it says so.
    pub(crate) async fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os("PAGE_SCREENSHOTS") else { return };
        let order =
            json!({"cmd": "Page.captureScreenshot", "params": {"captureBeyondViewport": true}});
        let picture = self.post("/goog/cdp/execute", &order).await;
        let bytes = Base64::decode_vec(picture["data"].as_str().unwrap()).unwrap();
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), bytes).unwrap();
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        self.call("POST", &format!("/session/{}{path}", self.session), body).await
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let what = format!("{method} {path} {body}");
        let answer = within(&what, exchange(self.address, method, path, &body.to_string())).await;
        let answer: Value = serde_json::from_str(&answer.unwrap()).unwrap();
        let value = &answer["value"];
        assert!(value["error"].is_null(), "{what}: {value}");
        value.clone()
    }
}

impl Browser {
    fn close(&self) -> std::io::Result<()> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (address, session) = (self.address, &self.session);
        write!(stream, "DELETE /session/{session} HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
        // Answered when the browser has ended.
        stream.read_exact(&mut [0; 12])
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A driver that is killed leaves its browser behind.
        if let Err(error) = self.close() {
            eprintln!("the browser may be left behind: {error}");
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Starts chromedriver on a port that it chooses, and waits until it is ready.
async fn start(profile: &TempDir) -> (Child, SocketAddr) {
    let mut driver = Command::new("chromedriver")
        .args(["--port=0", "--log-level=SEVERE"])
        // What it leaves behind goes with the profile.
        .env("TMPDIR", profile.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver is there: packages chromium and chromium-driver");
    let output = driver.stdout.take().unwrap();
    let lines = crate::process::lines(output);
    let find = |lines: &[String]| {
        let line = lines.iter().find(|line| line.contains("successfully on port"))?;
        line.trim_end_matches('.').rsplit(' ').next()?.parse().ok()
    };
    let port: u16 = lines.until("the port of chromedriver", find).await;
    (driver, SocketAddr::from(([127, 0, 0, 1], port)))
}

/// One HTTP exchange over a connection of its own: the body of the answer.
async fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    // chromedriver keeps the connection, whatever it is asked.
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(text) = line.strip_prefix("content-length:") {
            length = text.trim().parse().map_err(std::io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    String::from_utf8(body).map_err(std::io::Error::other)
}

/// Without a sandbox, because the tests may run as root; and without looking for updates.
const FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];
