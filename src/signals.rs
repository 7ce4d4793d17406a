//! How the operator stops a run: Ctrl-C, and what counts as it (rule 14).

use almaplan_engine::executor::Order;
use tokio::sync::mpsc;

/// Orders from the operator, from now on: the first is [`Order::Stop`], every further one [`Order::Kill`].
///
/// Must be called within a tokio runtime.
///
/// # Errors
/// The system gives no signals.
pub fn orders() -> std::io::Result<mpsc::Receiver<Order>> {
    let mut signals = Signals::new()?;
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut order = Order::Stop;
        loop {
            signals.next().await;
            if sender.send(order).await.is_err() {
                return;
            }
            order = Order::Kill;
        }
    });
    Ok(receiver)
}

#[cfg(unix)]
struct Signals {
    each: [tokio::signal::unix::Signal; 3],
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { each: [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?] })
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.each;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
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

    async fn next(&mut self) {
        tokio::select! {
            _ = self.ctrl_c.recv() => {}
            _ = self.ctrl_break.recv() => {}
            _ = self.close.recv() => {}
            _ = self.logoff.recv() => {}
            _ = self.shutdown.recv() => {}
        }
    }
}
