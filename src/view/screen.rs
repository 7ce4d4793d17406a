//! The thread that a view runs on: a terminal that is held (Ctrl-S), or a reader that has stopped reading, keeps nobody but it waiting.
//!
//! What programs print by the thousand waits for room, so that a reader that is merely slow misses nothing. From one that takes nothing for
//! [`PATIENCE`] it is kept away until it reads again; the logs have it. What happens to steps is never left out.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use almaplan_engine::update::Update;
use jiff::Timestamp;

use super::View;
use super::recap::Recap;

/// How much may wait to be shown before what programs print has to wait too.
const FULL: usize = 1024;

/// How long a reader may take nothing until it counts as one that has stopped.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a view is to do.
pub enum Task {
    /// Show an update.
    Show(Timestamp, Box<Update>),
    /// See the time.
    Tick(Timestamp),
    /// Take away what is drawn and redrawn.
    Pause,
    /// Make place for another view.
    Swap(Box<dyn View>),
    /// Show the end.
    Finish(Timestamp, Box<Recap>),
    /// Say that all before it was shown.
    Answer(Sender<()>),
}

/// See the module.
pub struct Screen {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    some: Condvar,
    room: Condvar,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    /// The reader has stopped.
    stuck: bool,
}

/// That all that was asked for so far is shown.
pub struct Shown(Receiver<()>);

impl Shown {
    /// Waits for it.
    pub fn wait(self) {
        // An error is a view that panicked: nothing more will be shown.
        let _ = self.0.recv();
    }

    /// Waits for it for so long; whether it came.
    pub fn within(self, limit: Duration) -> bool {
        !matches!(self.0.recv_timeout(limit), Err(RecvTimeoutError::Timeout))
    }
}

impl Screen {
    /// Shows with `view` from here on.
    ///
    /// # Errors
    /// The machine gives no thread.
    pub fn new(view: Box<dyn View>) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let of_thread = Arc::clone(&queue);
        thread::Builder::new().name("screen".to_owned()).spawn(move || of_thread.work_off(view))?;
        Ok(Self { queue })
    }

    /// Has `task` done, after all that was given before.
    pub fn give(&self, task: Task) {
        let mut state = self.queue.lock();
        if is_one_of_many(&task) && state.tasks.len() >= FULL {
            if !state.stuck {
                let full = |state: &mut State| state.tasks.len() >= FULL;
                let waited = self.queue.room.wait_timeout_while(state, PATIENCE, full);
                let (held, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                state = held;
                state.stuck = timeout.timed_out();
            }
            if state.stuck {
                return;
            }
        }
        state.tasks.push_back(task);
        self.queue.some.notify_one();
    }

    /// When all that was given so far is shown.
    pub fn shown(&self) -> Shown {
        let (answer, shown) = channel();
        self.give(Task::Answer(answer));
        Shown(shown)
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work_off(&self, mut view: Box<dyn View>) {
        loop {
            let mut state = self.lock();
            let task = loop {
                match state.tasks.pop_front() {
                    Some(task) => break task,
                    None => state = self.some.wait(state).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(state);
            match task {
                Task::Show(at, update) => view.show(at, &update),
                Task::Tick(now) => view.tick(now),
                Task::Pause => view.pause(),
                Task::Swap(other) => view = other,
                Task::Finish(at, recap) => view.finish(at, &recap),
                Task::Answer(answer) => {
                    // Whoever asked may have stopped waiting.
                    let _ = answer.send(());
                }
            }
            self.lock().stuck = false;
            self.room.notify_all();
        }
    }
}

/// Whether so many of these come that one may be left out.
fn is_one_of_many(task: &Task) -> bool {
    match task {
        Task::Tick(_) => true,
        Task::Show(_, update) => matches!(**update, Update::Progress { .. } | Update::Log { .. }),
        Task::Pause | Task::Swap(_) | Task::Finish(..) | Task::Answer(_) => false,
    }
}
