//! Chromium with a page of `tests/browser`, driven from a test.
//!
//! The page's files come from a server on loopback made for the test. What the page posts to `/report` comes back as JSON.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// The longest report.
const MAX_REPORT_LEN: usize = 1 << 20;
/// How long a page may take for its next report before the test fails: Chromium's start on a loaded machine and all of the
/// self-test, ten times over.
const REPORT_TIMEOUT: Duration = Duration::from_secs(120);

/// What keeps Chromium from asking the network for anything, and from needing a display or a sandbox.
const FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
];

/// A page could not be shown, or did not report.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A file, a socket or a process.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What came of it.
        source: io::Error,
    },
    /// No report came for this long.
    #[error("no report from the page in {0:?}")]
    Silent(Duration),
    /// The report is no JSON.
    #[error("report: {0}")]
    Report(#[from] serde_json::Error),
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> PageError {
    move |source| PageError::Io { what, source }
}

/// Where Chromium is: `CHROMIUM`, if that is set, or a program of one of its names. `None`: it is not installed.
#[must_use]
pub fn find() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("CHROMIUM") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|directory| ["chromium", "chromium-browser", "google-chrome"].map(|name| directory.join(name)))
        .find(|program| program.is_file())
}

/// A page in a Chromium of its own, which ends when this is dropped.
#[derive(Debug)]
pub struct Page {
    browser: Child,
    profile: PathBuf,
    server: JoinHandle<()>,
    reports: mpsc::Receiver<Bytes>,
}

impl Page {
    /// Shows `page`, a path in `tests/browser` with a query if it has one, in the Chromium at `program`. The page finds
    /// each of `data` at `/data/<name>`. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`PageError::Io`] if the server or Chromium cannot be started.
    pub async fn open(program: &Path, page: &str, data: HashMap<String, Bytes>) -> Result<Self, PageError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed("listen"))?;
        let origin = listener.local_addr().map_err(failed("listen"))?;
        let profile = std::env::temp_dir().join(format!("mina-p2p-chromium-{}-{}", std::process::id(), origin.port()));
        std::fs::create_dir(&profile).map_err(failed("make a profile"))?;
        let (sender, reports) = mpsc::channel(64);
        let site = Arc::new(Site { data, reports: sender });
        let server = tokio::spawn(serve(listener, site));
        let browser = Command::new(program)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("http://{origin}/{page}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match browser {
            Ok(browser) => Ok(Self { browser, profile, server, reports }),
            Err(error) => {
                server.abort();
                let _ = std::fs::remove_dir_all(&profile);
                Err(failed("start Chromium")(error))
            }
        }
    }

    /// The page's next report.
    ///
    /// # Errors
    /// [`PageError::Silent`] if none comes in two minutes, [`PageError::Report`] if it is no JSON.
    pub async fn report(&mut self) -> Result<serde_json::Value, PageError> {
        match timeout(REPORT_TIMEOUT, self.reports.recv()).await {
            Ok(Some(report)) => Ok(serde_json::from_slice(&report)?),
            _ => Err(PageError::Silent(REPORT_TIMEOUT)),
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.server.abort();
        // Chromium's other processes end with the one that started them.
        let _ = self.browser.kill();
        let _ = self.browser.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

struct Site {
    data: HashMap<String, Bytes>,
    reports: mpsc::Sender<Bytes>,
}

async fn serve(listener: TcpListener, site: Arc<Site>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let site = Arc::clone(&site);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&site), request));
            // A connection that breaks is the page's to notice.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(site: Arc<Site>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    if request.method() == Method::POST && path == "/report" {
        let Ok(body) = Limited::new(request.into_body(), MAX_REPORT_LEN).collect().await else {
            return Ok(status(StatusCode::PAYLOAD_TOO_LARGE));
        };
        // Nobody who waits for it: the test is over.
        let _ = site.reports.send(body.to_bytes()).await;
        return Ok(status(StatusCode::NO_CONTENT));
    }
    if let Some(data) = path.strip_prefix("/data/").and_then(|name| site.data.get(name)) {
        return Ok(content("application/octet-stream", data.clone()));
    }
    Ok(file(&path).unwrap_or_else(|| status(StatusCode::NOT_FOUND)))
}

/// A file of `tests/browser`, if there is one of a kind that pages are made of.
fn file(path: &str) -> Option<Response<Full<Bytes>>> {
    let path = Path::new(path.trim_start_matches('/'));
    let kind = match path.extension()?.to_str()? {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        _ => return None,
    };
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../browser");
    Some(content(kind, std::fs::read(root.join(path)).ok()?.into()))
}

fn content(kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response
}
