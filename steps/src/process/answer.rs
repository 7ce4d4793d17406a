//! Whether a service answers: the cheapest honest look at it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

/// Asks URLs. Each question is a connection of its own: what is kept open would hide that nobody new is let in. Proxies of the
/// environment are not asked, redirects not followed.
#[derive(Debug, Clone)]
pub struct Prober {
    client: reqwest::Client,
}

/// How much of an answer is read, so that the service sees its client leave in peace.
const BODY: usize = 1 << 20;

impl Prober {
    /// One that can be asked any number of times.
    pub fn new() -> Self {
        let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider supports the versions that rustls thinks safe")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .build()
            .expect("nothing in these settings can be refused");
        Self { client }
    }

    /// How long the answer took; `None` where none came within `patience`, or one with status 500 or above.
    pub async fn ask(&self, url: &str, patience: Duration) -> Option<Duration> {
        let begun = Instant::now();
        let asked = async {
            let mut response = self.client.get(url).send().await.ok()?;
            let status = response.status();
            let took = begun.elapsed();
            let mut read = 0;
            while let Some(chunk) = response.chunk().await.ok().flatten().filter(|_| read < BODY) {
                read += chunk.len();
            }
            (status.as_u16() < 500).then_some(took)
        };
        timeout(patience, asked).await.ok().flatten()
    }
}

impl Default for Prober {
    fn default() -> Self {
        Self::new()
    }
}
