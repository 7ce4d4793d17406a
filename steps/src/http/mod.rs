//! The one way this crate speaks HTTP: TLS by rustls with ring and the certificate authorities of `webpki-roots`, of this machine and
//! of a file; cookies, no proxies for this machine, and errors without the address (a webhook's address is a secret). Redirects are
//! followed within the origin that was asked: what another one answers is not this service's answer, and it gets no secret.
//!
//! What an answer means is left to the kinds.

pub mod capture;
mod charset;

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use almaplan_engine::event::{AnswerFault, WrongAnswer};
use almaplan_engine::host::ServiceCheck;
use reqwest::cookie::{CookieStore, Jar};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Deserializer, Serialize};

use crate::checked::{Texts, each};

/// How many redirects are followed before it is a loop.
const MOST_REDIRECTS: usize = 10;
/// How much of a body is read: enough for any page that a check looks into.
const MOST_BODY: usize = 8 << 20;
/// How much of it where only that it answers counts.
const LEAST_BODY: usize = 1 << 20;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// What can go wrong on the way to an answer. None of these names the address.
#[derive(Debug, Serialize, thiserror::Error)]
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
    /// It was answered in a compression that nobody asked for and that is not read here.
    #[error("it answered in the encoding `{0}`, which cannot be read here")]
    Encoding(String),
    /// A file of certificate authorities cannot be used.
    #[error("could not read certificates from {file}: {reason}", file = file.display())]
    Authority {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl HttpError {
    /// Whether the request certainly never reached anyone.
    pub fn was_not_sent(&self) -> bool {
        matches!(self, Self::Address { .. } | Self::Connect(_) | Self::Authority { .. })
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

/// Addresses among the inputs of a kind, for `deserialize_with`.
pub(crate) fn addresses<'de, D: Deserializer<'de>, T: Deserialize<'de> + Texts>(deserializer: D) -> Result<T, D::Error> {
    each(deserializer, |text| match address(text) {
        Ok(_) => Ok(()),
        Err(HttpError::Address { reason, .. }) => Err(format!("it is no address like http://127.0.0.1:5000: {reason}")),
        Err(error) => Err(error.to_string()),
    })
}

/// Whether `url` is this machine itself.
pub fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

/// Requests that belong together: they share cookies. Each has a connection of its own: on one that was kept open, nobody can tell
/// whether a request that failed was received.
pub struct Session {
    following: Client,
    staying: Client,
    cookies: Arc<Cookies>,
}

impl Session {
    /// A session for `base`. Where `ca` is given, the certificates in that file are trusted as well.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificate.
    pub fn new(base: &Url, ca: Option<&Path>) -> Result<Self, HttpError> {
        let cookies = Arc::new(Cookies::default());
        let tls = tls(base, ca)?;
        let client = |redirects: Policy| {
            built(builder(Some(base), tls.clone()).cookie_provider(cookies.clone()).redirect(redirects).pool_max_idle_per_host(0))
        };
        Ok(Self { following: client(Policy::custom(within_origin)), staying: client(Policy::none()), cookies })
    }

    /// The client that follows redirects, or the one that shows them.
    pub fn client(&self, follow: bool) -> &Client {
        if follow { &self.following } else { &self.staying }
    }

    /// The value of a cookie that is sent to `url`.
    pub fn cookie(&self, url: &Url, name: &str) -> Option<String> {
        let sent = self.cookies.cookies(url)?;
        let mut pairs = sent.to_str().ok()?.split("; ").filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
    }
}

/// Follows a redirect only where it leads to who was asked.
fn within_origin(attempt: Attempt) -> reqwest::redirect::Action {
    match attempt.previous() {
        followed if followed.len() > MOST_REDIRECTS => attempt.error("it redirects without end"),
        [first, ..] if first.origin() != attempt.url().origin() => attempt.stop(),
        _ => attempt.follow(),
    }
}

/// Asks whether a service answers, any number of times. Each question is a connection of its own: what is kept open would hide
/// that nobody new is let in. Redirects are not followed.
#[derive(Debug, Clone)]
pub struct Prober {
    plain: Client,
    /// Made when it is first needed: to read what the machine trusts takes a while.
    secure: Arc<LazyLock<Client>>,
}

impl Prober {
    /// One that asks no proxy, whomever it asks.
    pub fn direct() -> Self {
        let plain = built(asking_anew(builder(None, trusting_nobody())));
        Self { plain, secure: Arc::new(LazyLock::new(|| built(asking_anew(builder(None, TRUSTED.clone()))))) }
    }

    /// How long the answer took.
    ///
    /// # Errors
    /// None came within `patience`, or one with status 500 or above.
    pub async fn ask(&self, url: &str, patience: Duration) -> Result<Duration, HttpError> {
        probe(self.client(url), url, patience).await
    }

    /// What the address of `check` does instead of answering as it should within `patience`; `None`: it answers so.
    pub async fn wrong_answer(&self, check: &ServiceCheck, patience: Duration) -> Option<WrongAnswer> {
        let asked = async {
            let mut response = self.client(&check.url).get(&check.url).timeout(patience).send().await?;
            let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let body = read(&mut response, LEAST_BODY).await?;
            Ok::<_, HttpError>((response.status().as_u16(), body, content_type))
        };
        let found = match asked.await {
            Err(_) => AnswerFault::NoAnswer,
            Ok((status, ..)) if !is_right(status, &check.status) => AnswerFault::Status(status),
            Ok((_, body, content_type)) => {
                let text = |sought: &String| charset::text(&body, content_type.as_deref()).contains(sought.as_str());
                if check.contains.as_ref().is_none_or(text) {
                    return None;
                }
                AnswerFault::Content
            }
        };
        Some(WrongAnswer { url: check.url.clone(), found })
    }

    fn client(&self, url: &str) -> &Client {
        if url.starts_with("https:") { &self.secure } else { &self.plain }
    }
}

/// Whether a status is one of those that are right; where none is named, every one that does not say that the service has failed.
fn is_right(status: u16, right: &[u16]) -> bool {
    if right.is_empty() { status < 500 } else { right.contains(&status) }
}

fn asking_anew(builder: ClientBuilder) -> ClientBuilder {
    builder.redirect(Policy::none()).pool_max_idle_per_host(0)
}

// The address is not told: it may hold a secret.
#[tracing::instrument(level = "debug", name = "request", skip_all, err(level = "debug"))]
async fn probe(client: &Client, url: &str, patience: Duration) -> Result<Duration, HttpError> {
    let begun = Instant::now();
    let mut response = client.get(url).timeout(patience).send().await?;
    let took = begun.elapsed();
    // Read, so that the service sees its client leave in peace.
    read(&mut response, LEAST_BODY).await?;
    let status = response.status();
    tracing::debug!(status = status.as_u16(), ?took, "answered");
    if status.is_server_error() { Err(HttpError::Server(status.as_u16())) } else { Ok(took) }
}

/// TLS that trusts the authorities of `webpki-roots`, the same on every system, and those that this machine trusts: its own store, or
/// what `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
static TRUSTED: LazyLock<ClientConfig> = LazyLock::new(|| trusting(&[]));

/// TLS for requests to `base`.
fn tls(base: &Url, ca: Option<&Path>) -> Result<ClientConfig, HttpError> {
    let Some(file) = ca else {
        return Ok(if base.scheme() == "https" { TRUSTED.clone() } else { trusting_nobody() });
    };
    let wrong = |reason: String| HttpError::Authority { file: file.to_owned(), reason };
    let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() { Err(wrong("it holds none".to_owned())) } else { Ok(trusting(&certificates)) }
}

fn trusting(further: &[CertificateDer<'static>]) -> ClientConfig {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // What cannot be read of a machine's store is no reason to do without the rest.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(further.iter().cloned());
    with_roots(roots)
}

/// For requests without TLS, which are not redirected to any with it.
fn trusting_nobody() -> ClientConfig {
    with_roots(RootCertStore::empty())
}

fn with_roots(roots: RootCertStore) -> ClientConfig {
    // The provider is chosen here, not installed for the process: a program that embeds us may have its own.
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports the versions that rustls thinks safe")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// What all clients have in common; proxies of the environment are used unless `base` is this machine, or not told.
fn builder(base: Option<&Url>, tls: ClientConfig) -> ClientBuilder {
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
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
    /// The address it finally came from, after redirects.
    pub url: Url,
    /// Where it redirects to, and was not followed.
    pub redirect: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as text; at most the first 8 MiB.
    pub body: String,
}

/// Sends `request` and reads the whole answer within `timeout`.
///
/// # Errors
/// No whole answer came, or one that cannot be read. Any status is an answer.
#[tracing::instrument(level = "debug", name = "request", skip_all, err(level = "debug"))]
pub async fn ask(request: RequestBuilder, timeout: Duration) -> Result<Answered, HttpError> {
    let mut response = request.timeout(timeout).send().await?;
    let (status, url, headers) = (response.status(), response.url().clone(), response.headers().clone());
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let body = read(&mut response, MOST_BODY).await?;
    // The encodings that are read here are gone from the headers by now. What has no body is in no encoding.
    if let Some(encoding) = text(CONTENT_ENCODING).filter(|encoding| !body.is_empty() && !encoding.eq_ignore_ascii_case("identity")) {
        return Err(HttpError::Encoding(encoding.to_owned()));
    }
    let body = charset::text(&body, text(CONTENT_TYPE));
    let redirect = text(LOCATION).filter(|_| status.is_redirection()).map(str::to_owned);
    Ok(Answered { status: status.as_u16(), url, redirect, headers, body })
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
    let client = built(asking_anew(builder(Some(&base), tls(&base, None)?)));
    probe(&client, url, timeout).await.map(drop)
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
