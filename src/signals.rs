//! How the operator stops a run: Ctrl-C, and what counts as it (rule 14).

use std::sync::Arc;

use almaplan_engine::executor::Order;
use tokio::sync::mpsc;

use crate::down_question::{Choice, DownQuestion};
use crate::view::Output;

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// What counts as it, but is nobody at a terminal.
    Terminate,
    /// The terminal is gone.
    #[cfg_attr(windows, allow(dead_code))]
    Hangup,
}

/// Orders from the operator, from now on: the first is [`Order::Stop`], every further one [`Order::Kill`]. While the measured service is
/// down, `question` is asked before the first. A terminal that goes away is no order: `left_alone` is called, and the run goes on.
///
/// Must be called within a tokio runtime.
///
/// # Errors
/// The system gives no signals.
pub fn orders(
    output: &Arc<Output>,
    mut question: Option<DownQuestion>,
    left_alone: impl Fn() + Send + Sync + 'static,
) -> std::io::Result<mpsc::Receiver<Order>> {
    let mut signals = Signals::new()?;
    let (sender, receiver) = mpsc::channel(4);
    let output = Arc::clone(output);
    tokio::spawn(async move {
        let mut next = Order::Stop;
        loop {
            let order = match signals.next().await {
                Signal::Hangup => {
                    left_alone();
                    question = None;
                    continue;
                }
                Signal::Interrupt if next == Order::Stop && output.is_down() => match &mut question {
                    Some(question) => match ask(question, &output, &mut signals, &left_alone).await {
                        Choice::GoOn => continue,
                        Choice::Undo => Order::Undo,
                        Choice::Stop => Order::Stop,
                    },
                    None => Order::Stop,
                },
                Signal::Interrupt | Signal::Terminate => next,
            };
            if sender.send(order).await.is_err() {
                return;
            }
            if order != Order::Undo {
                next = Order::Kill;
            }
        }
    });
    Ok(receiver)
}

/// Waits for any order to stop, where the system tells.
pub async fn heard() {
    match Signals::new() {
        Ok(mut signals) => while signals.next().await == Signal::Hangup {},
        Err(_) => std::future::pending().await,
    }
}

/// Asks, with the screen still. A further Ctrl-C means to stop; a terminal that goes away means nothing.
async fn ask(question: &mut DownQuestion, output: &Output, signals: &mut Signals, left_alone: &(impl Fn() + Sync)) -> Choice {
    output.hold();
    let choice = tokio::select! {
        choice = question.ask() => choice,
        signal = signals.next() => match signal {
            Signal::Hangup => {
                left_alone();
                Choice::GoOn
            }
            Signal::Interrupt | Signal::Terminate => Choice::Stop,
        },
    };
    output.release();
    choice
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// Not heard under `nohup`: what it shows goes where it was sent, whatever becomes of the terminal.
    hangup: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hangup })
    }

    async fn next(&mut self) -> Signal {
        let Self { interrupt, terminate, hangup } = self;
        tokio::select! {
            _ = interrupt.recv() => Signal::Interrupt,
            _ = terminate.recv() => Signal::Terminate,
            Some(_) = async { hangup.as_mut()?.recv().await } => Signal::Hangup,
        }
    }
}

/// Whether whoever started us wants SIGHUP to be nothing, as far as the system tells (`proc_pid_status(5)`: `SigIgn`, signal 1 is bit 0).
#[cfg(unix)]
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|signals| signals & 1 != 0)
}

#[cfg(windows)]
struct Signals {
    ctrl_c: tokio::signal::windows::CtrlC,
    ctrl_break: tokio::signal::windows::CtrlBreak,
    close: tokio::signal::windows::CtrlClose,
    logoff: tokio::signal::windows::CtrlLogoff,
    shutdown: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::windows;
        Ok(Self {
            ctrl_c: windows::ctrl_c()?,
            ctrl_break: windows::ctrl_break()?,
            close: windows::ctrl_close()?,
            logoff: windows::ctrl_logoff()?,
            shutdown: windows::ctrl_shutdown()?,
        })
    }

    /// The system ends a process whose console closes: that is an order to stop here, as a shutdown is.
    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.ctrl_c.recv() => Signal::Interrupt,
            _ = self.ctrl_break.recv() => Signal::Interrupt,
            _ = self.close.recv() => Signal::Terminate,
            _ = self.logoff.recv() => Signal::Terminate,
            _ = self.shutdown.recv() => Signal::Terminate,
        }
    }
}
