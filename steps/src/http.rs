//! The one way this crate speaks HTTP: TLS by rustls with ring and the certificate authorities of `webpki-roots`,
//! cookies, no proxies for this machine, and errors without the address (a webhook's address is a secret).
//!
//! What an answer means is left to the kinds.

use std::error::Error as _;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use reqwest::cookie::{CookieStore, Jar};
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, Url};

/// How many redirects are followed before it is a loop.
const MOST_REDIRECTS: usize = 10;
/// How much of a body is read: enough for any page that a check looks into.
const MOST_BODY: usize = 8 << 20;
/// How much of it where only that it answers counts.
const LEAST_BODY: usize = 1 << 20;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// What can go wrong on the way to an answer. None of these names the address.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is none.
    #[error("`{text}` is no http address ({reason}); write it like http://127.0.0.1:5000")]
    Address {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An answer that says that the service itself has failed.
    #[error("it answered {0}")]
    Server(u16),
    /// Nothing was sent: nobody listens there, or the name is unknown.
    #[error("no connection ({0})")]
    Connect(String),
    /// It was sent, or may have been, but no answer came in time.
    #[error("no answer in time")]
    Timeout,
    /// It was sent, or may have been, but no whole answer came.
    #[error("no answer ({0})")]
    Broken(String),
}

impl HttpError {
    /// Whether the request certainly never reached anyone.
    pub fn was_not_sent(&self) -> bool {
        matches!(self, Self::Address { .. } | Self::Connect(_))
    }
}

impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let reason = innermost(&error);
        if error.is_connect() || error.is_builder() {
            Self::Connect(reason)
        } else if error.is_timeout() {
            Self::Timeout
        } else {
            Self::Broken(reason)
        }
    }
}

/// The text of the deepest cause: "connection refused" rather than "error sending request".
fn innermost(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = deeper.to_string();
        cause = deeper.source();
    }
    text
}

/// The address behind `text`.
///
/// # Errors
/// It is no http or https address with a host.
pub fn address(text: &str) -> Result<Url, HttpError> {
    let wrong = |reason: &str| HttpError::Address { text: text.to_owned(), reason: reason.to_owned() };
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(_)) => Ok(url),
        _ => Err(wrong("neither http nor https")),
    }
}

/// Whether `url` is this machine itself.
pub fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

/// Requests that belong together: they share cookies and connections.
pub struct Session {
    following: Client,
    staying: Client,
}

impl Session {
    /// A session for `base`.
    pub fn new(base: &Url) -> Self {
        let jar = Arc::new(Cookies::default());
        let client = |redirects: Policy| built(builder(Some(base)).cookie_provider(jar.clone()).redirect(redirects));
        Self { following: client(Policy::limited(MOST_REDIRECTS)), staying: client(Policy::none()) }
    }

    /// The client that follows redirects, or the one that shows them.
    pub fn client(&self, follow: bool) -> &Client {
        if follow { &self.following } else { &self.staying }
    }
}

/// Asks whether a service answers, any number of times. Each question is a connection of its own: what is kept open would hide
/// that nobody new is let in. Redirects are not followed.
#[derive(Debug, Clone)]
pub struct Prober(Client);

impl Prober {
    /// One that asks no proxy, whomever it asks.
    pub fn direct() -> Self {
        Self::with(builder(None))
    }

    fn with(builder: ClientBuilder) -> Self {
        Self(built(builder.redirect(Policy::none()).pool_max_idle_per_host(0)))
    }

    /// How long the answer took.
    ///
    /// # Errors
    /// None came within `patience`, or one with status 500 or above.
    pub async fn ask(&self, url: &str, patience: Duration) -> Result<Duration, HttpError> {
        let begun = Instant::now();
        let mut response = self.0.get(url).timeout(patience).send().await?;
        let took = begun.elapsed();
        // Read, so that the service sees its client leave in peace.
        read(&mut response, LEAST_BODY).await?;
        let status = response.status();
        if status.is_server_error() { Err(HttpError::Server(status.as_u16())) } else { Ok(took) }
    }
}

/// What all clients have in common; proxies of the environment are used unless `base` is this machine, or not told.
fn builder(base: Option<&Url>) -> ClientBuilder {
    // The provider is chosen here, not installed for the process: a program that embeds us may have its own.
    static TLS: LazyLock<rustls::ClientConfig> = LazyLock::new(|| {
        let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider supports the versions that rustls thinks safe")
            .with_root_certificates(roots)
            .with_no_client_auth()
    });
    let builder = Client::builder()
        .tls_backend_preconfigured(TLS.clone())
        .connect_timeout(CONNECT)
        .user_agent(concat!("almaplan/", env!("CARGO_PKG_VERSION")));
    if base.is_none_or(is_loopback) { builder.no_proxy() } else { builder }
}

fn built(builder: ClientBuilder) -> Client {
    builder.build().expect("nothing in these settings can be refused")
}

/// A cookie jar that treats this machine as browsers do: what it marks `Secure` is sent back to it without TLS too.
/// Without this, nobody could log in on `http://127.0.0.1` to an application set up for https.
#[derive(Default)]
struct Cookies(Jar);

impl CookieStore for Cookies {
    fn set_cookies(&self, headers: &mut dyn Iterator<Item = &HeaderValue>, url: &Url) {
        if url.scheme() == "http" && is_loopback(url) {
            let plain: Vec<HeaderValue> = headers.map(without_secure).collect();
            self.0.set_cookies(&mut plain.iter(), url);
        } else {
            self.0.set_cookies(headers, url);
        }
    }

    fn cookies(&self, url: &Url) -> Option<HeaderValue> {
        self.0.cookies(url)
    }
}

fn without_secure(header: &HeaderValue) -> HeaderValue {
    let Ok(text) = header.to_str() else { return header.clone() };
    let kept: Vec<&str> = text.split(';').filter(|part| !part.trim().eq_ignore_ascii_case("secure")).collect();
    HeaderValue::from_str(&kept.join(";")).unwrap_or_else(|_| header.clone())
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The path it finally came from, after redirects.
    pub path: String,
    /// The body, as text; at most the first 8 MiB.
    pub body: String,
}

/// Sends `request` and reads the whole answer within `timeout`.
///
/// # Errors
/// No whole answer came. Any status is an answer.
pub async fn ask(request: RequestBuilder, timeout: Duration) -> Result<Answered, HttpError> {
    let mut response = request.timeout(timeout).send().await?;
    let (status, path) = (response.status().as_u16(), response.url().path().to_owned());
    let body = read(&mut response, MOST_BODY).await?;
    Ok(Answered { status, path, body: String::from_utf8_lossy(&body).into_owned() })
}

/// At most the first `most` bytes of the body.
async fn read(response: &mut Response, most: usize) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    while body.len() < most
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(most);
    Ok(body)
}

/// Whether `url` answers within `timeout`.
///
/// # Errors
/// It does not, or with a status of 500 or above.
pub async fn answers(url: &str, timeout: Duration) -> Result<(), HttpError> {
    let base = address(url)?;
    Prober::with(builder(Some(&base))).ask(url, timeout).await.map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        let loopback = |text: &str| is_loopback(&address(text).unwrap());
        assert!(loopback("http://127.0.0.1:5000") && loopback("http://localhost/x") && loopback("http://[::1]:80"));
        assert!(!loopback("http://10.0.0.1") && !loopback("http://localhost.example.com"));
        assert!(address("127.0.0.1:5000").is_err() && address("ftp://example.com").is_err());
    }

    #[tokio::test]
    async fn an_error_does_not_give_the_address_away() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        drop(taken);
        let error = answers(&format!("http://127.0.0.1:{port}/hooks/s3cr3t"), CONNECT).await.unwrap_err().to_string();
        assert!(error.contains("refused") && !error.contains("s3cr3t"), "{error}");
    }

    #[test]
    fn a_secure_cookie_of_this_machine_comes_back_without_tls() {
        let header = HeaderValue::from_static("session=1; Secure; HttpOnly; Path=/");
        let sent_to = |url: &str| {
            let (jar, url) = (Cookies::default(), address(url).unwrap());
            jar.set_cookies(&mut std::iter::once(&header), &url);
            jar.cookies(&url).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(sent_to("http://127.0.0.1:5000/").as_deref(), Some("session=1"));
        assert_eq!(sent_to("http://example.com/"), None);
    }
}
