//! `notify`: tells people, where they are: the console, a webhook, an e-mail.
//!
//! Every target is tried, whatever became of the others. A webhook's address and a mail server's password are secrets: errors name
//! the host at most. After an interruption people may be told twice, never not at all.

use std::time::Duration as Time;

use almaplan_engine::context::{Context, Stopped};
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::words::verbatim;
use jiff::Timestamp;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::http::{HttpError, Session, address, ask};
use crate::input::{OneOrMany, OrDefault, Word};

/// How long one target may take.
const WITHIN: Time = Time::from_secs(20);
/// Whom to tell where nobody is named.
static CONSOLE: [Target; 1] = [Target::Console(Console::Console)];

/// Tells people something: on the console, by a webhook, by e-mail.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// What to tell.
    pub message: Word,
    /// Whom; default: the console.
    #[serde(default)]
    pub to: Option<OneOrMany<Target>>,
}

/// Where people are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Target {
    /// `"console"`: a banner where the run is watched.
    Console(Console),
    /// A webhook.
    Webhook(Webhook),
    /// An e-mail.
    Email(Email),
}

/// The console.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Console {
    /// A banner where the run is watched.
    Console,
}

/// A webhook.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Its address; null (a secret that is not there) leaves it out.
    #[serde(deserialize_with = "required")]
    pub webhook: Option<String>,
    /// What it understands.
    #[serde(default)]
    pub format: OrDefault<Format>,
}

/// What a webhook understands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// An object with `message`, `run`, `plan`, `step`, `outcome` and `at`.
    #[default]
    Json,
    /// Slack, and what is made like it.
    Slack,
    /// Microsoft Teams (a workflow that posts cards).
    Teams,
}

/// An e-mail.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// The mail server, like `smtps://user:password@mail.example.com` or `smtp://mail.example.com:587?tls=required`; null leaves it out.
    #[serde(deserialize_with = "required")]
    pub smtp: Option<String>,
    /// The sender.
    pub from: String,
    /// The receivers.
    pub to: OneOrMany<String>,
    /// The subject; default: the plan and the first line of the message.
    #[serde(default)]
    pub subject: Option<Word>,
}

/// How many were told.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct NotifyOutput {
    /// How many targets took the message.
    pub told: u64,
}

/// The key must be there, its value may be null: else every table without it would be one of these.
fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

/// Why somebody was not told.
#[derive(Debug, Serialize, thiserror::Error)]
enum NotifyError {
    #[error("the webhook's address is no http address")]
    WebhookAddress,
    #[error("the webhook at {host} was not told: {reason}")]
    Webhook { host: String, reason: HttpError },
    #[error("the webhook at {host} refused it with {status}")]
    Refused { host: String, status: u16 },
    #[error("`smtp` is no mail server's address; write it like smtps://user:password@mail.example.com")]
    MailServer,
    #[error("`{0}` is no e-mail address")]
    Mailbox(String),
    #[error("the e-mail could not be written: {0}")]
    Mail(
        #[from]
        #[serde(serialize_with = "verbatim")]
        lettre::error::Error,
    ),
    #[error("the e-mail was not sent: {0}")]
    Smtp(
        #[from]
        #[serde(serialize_with = "verbatim")]
        lettre::transport::smtp::Error,
    ),
    #[error("the e-mail was not sent: no answer in time")]
    Slow,
}

/// Why some were not told.
#[derive(Debug, Serialize, thiserror::Error)]
#[error("{}", errors.iter().map(NotifyError::to_string).collect::<Vec<_>>().join("\n"))]
struct NotifyErrors {
    errors: Vec<NotifyError>,
}

impl Kind for Notify {
    const KIND: &'static str = "notify";
    const TRAITS: Traits = Traits::new(Effect::Observes, OnInterrupt::Rerun).timeout(Time::from_secs(120));
    type Output = NotifyOutput;

    async fn run(&self, cx: &Context) -> Result<NotifyOutput, Failure> {
        tokio::select! {
            told = self.tell_all(cx) => told,
            () = cx.cancelled() => Err(Failure::dirty(Stopped)),
        }
    }
}

impl Notify {
    async fn tell_all(&self, cx: &Context) -> Result<NotifyOutput, Failure> {
        let (mut told, mut errors) = (0, Vec::new());
        for target in self.to.as_deref().unwrap_or(&CONSOLE) {
            let outcome = match target {
                Target::Console(Console::Console) => {
                    cx.alert(&*self.message.0);
                    Ok(true)
                }
                Target::Webhook(webhook) => webhook.tell(cx, &self.message).await,
                Target::Email(email) => email.tell(cx, &self.message).await,
            };
            match outcome {
                Ok(taken) => told += u64::from(taken),
                Err(error) => errors.push(error),
            }
        }
        // A message that went out is nothing to make up for.
        if errors.is_empty() { Ok(NotifyOutput { told }) } else { Err(Failure::clean(NotifyErrors { errors })) }
    }
}

impl Webhook {
    /// Whether there was anyone to tell.
    async fn tell(&self, cx: &Context, message: &str) -> Result<bool, NotifyError> {
        let Some(url) = &self.webhook else { return Ok(false) };
        let url = address(url).map_err(|_| NotifyError::WebhookAddress)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let failed = |reason: HttpError| NotifyError::Webhook { host: host.clone(), reason };
        // A redirected POST would arrive as a GET without the message: it counts as refused.
        let request = Session::new(&url, None).map_err(failed)?.client(false).post(url).json(&self.format.body(cx, message));
        match ask(request, WITHIN).await.map_err(failed)?.status {
            200..300 => Ok(true),
            status => Err(NotifyError::Refused { host, status }),
        }
    }
}

impl Format {
    fn body(self, cx: &Context, message: &str) -> Value {
        match self {
            Self::Json => json!({
                "message": message,
                "run": cx.run().id,
                "plan": cx.run().plan,
                "step": cx.step(),
                "outcome": cx.summary().outcome,
                "at": Timestamp::now(),
            }),
            Self::Slack => json!({ "text": message }),
            Self::Teams => json!({
                "type": "message",
                "attachments": [{
                    "contentType": "application/vnd.microsoft.card.adaptive",
                    "content": {
                        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                        "type": "AdaptiveCard",
                        "version": "1.4",
                        "body": [{ "type": "TextBlock", "text": message, "wrap": true }],
                    },
                }],
            }),
        }
    }
}

impl Email {
    /// Whether there was anyone to tell.
    async fn tell(&self, cx: &Context, message: &str) -> Result<bool, NotifyError> {
        let Some(server) = &self.smtp else { return Ok(false) };
        let mail = self.written(cx, message)?;
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(server).map_err(|_| NotifyError::MailServer)?;
        let sent = tokio::time::timeout(WITHIN, transport.timeout(Some(WITHIN)).build().send(mail)).await;
        sent.map_err(|_| NotifyError::Slow)??;
        Ok(true)
    }

    fn written(&self, cx: &Context, message: &str) -> Result<Message, NotifyError> {
        let mailbox = |text: &String| text.parse::<Mailbox>().map_err(|_| NotifyError::Mailbox(text.clone()));
        let subject = self
            .subject
            .clone()
            .map_or_else(|| format!("{}: {}", cx.run().plan, message.lines().next().unwrap_or_default()), |subject| subject.0);
        let mut mail = Message::builder().from(mailbox(&self.from)?).subject(subject);
        for receiver in self.to.iter() {
            mail = mail.to(mailbox(receiver)?);
        }
        Ok(mail.header(ContentType::TEXT_PLAIN).body(message.to_owned())?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{BufRead, BufReader, Write};
    use std::sync::{Arc, Mutex, mpsc};

    use almaplan_engine::update::Level;

    use super::*;
    use crate::test_context::TestRun;
    use crate::test_server::{Reply, serve};

    async fn notify(run: &TestRun, to: Value) -> Result<NotifyOutput, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let step: Notify = serde_json::from_value(json!({ "message": "Atualização concluída\nTudo certo", "to": to })).unwrap();
        step.run(&run.context(folder.path())).await
    }

    #[tokio::test]
    async fn each_target_is_told_in_its_own_words() {
        let bodies = Arc::new(Mutex::new(Vec::<Value>::new()));
        let received = bodies.clone();
        let hook = serve(move |request| {
            received.lock().unwrap().push(serde_json::from_str(&request.body).unwrap());
            Reply::new(204)
        });
        let run = TestRun::default();
        let to = json!(["console", { "webhook": hook }, { "webhook": hook, "format": "slack" }, { "webhook": hook, "format": "teams" }, { "webhook": null }]);
        assert_eq!(notify(&run, to).await.unwrap().told, 4);
        let message = "Atualização concluída\nTudo certo";
        assert_eq!(*run.notes.lock().unwrap(), [(Level::Alert, message.to_owned())]);
        let bodies = bodies.lock().unwrap();
        assert_eq!((&bodies[0]["message"], &bodies[0]["run"]), (&json!(message), &json!("20260206-141502-k3f9")));
        assert_eq!(bodies[1], json!({ "text": message }));
        assert_eq!(bodies[2]["attachments"][0]["content"]["body"][0]["text"], message);
    }

    #[tokio::test]
    async fn a_target_that_fails_hides_no_other_and_its_address_stays_secret() {
        let hook = serve(|_| Reply::new(302).header("Location", "/"));
        let run = TestRun::default();
        let to = json!([{ "webhook": hook + "/s3cr3t" }, { "webhook": "nowhere" }, { "smtp": "smtp://127.0.0.1:1", "from": "a", "to": "b" }, "console"]);
        let failure = notify(&run, to).await.unwrap_err();
        let told = "the webhook at 127.0.0.1 refused it with 302\nthe webhook's address is no http address\n`a` is no e-mail address";
        assert_eq!(failure.message, told);
        assert_eq!(run.notes.lock().unwrap().len(), 1);
    }

    /// Takes one e-mail and gives its text.
    fn mail_server() -> (String, mpsc::Receiver<String>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("smtp://{}", listener.local_addr().unwrap());
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let (mut mail, mut within) = (String::new(), false);
            stream.get_mut().write_all(b"220 ready\r\n").unwrap();
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                mail += &line;
                let reply = match line.trim_end() {
                    "." => {
                        within = false;
                        sender.send(mail.clone()).unwrap();
                        "250 taken"
                    }
                    _ if within => continue,
                    "DATA" => {
                        within = true;
                        "354 go on"
                    }
                    "QUIT" => "221 bye",
                    _ => "250 fine",
                };
                stream.get_mut().write_all(format!("{reply}\r\n").as_bytes()).unwrap();
            }
        });
        (address, receiver)
    }

    #[tokio::test]
    async fn an_email_has_the_plan_in_its_subject() {
        let (server, mails) = mail_server();
        let to = json!({ "smtp": server, "from": "Almaplan <deploy@example.com>", "to": ["ana@example.com", "rui@example.com"] });
        assert_eq!(notify(&TestRun::default(), to).await.unwrap().told, 1);
        let mail = mails.recv_timeout(WITHIN).unwrap();
        assert!(mail.contains("RCPT TO:<ana@example.com>") && mail.contains("RCPT TO:<rui@example.com>"), "{mail}");
        assert!(mail.contains("Subject: almareia-producao: ") && mail.contains("Tudo certo"), "{mail}");
    }

    #[test]
    fn a_table_that_is_no_target_is_refused() {
        for to in [json!({}), json!({ "webhok": "http://x" }), json!("screen"), json!({ "webhook": "http://x", "format": "xml" })] {
            assert!(serde_json::from_value::<Notify>(json!({ "message": "", "to": to })).is_err(), "{to}");
        }
    }
}
