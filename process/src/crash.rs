//! Panics: a panic ends the process, unless a caller contains it.
//!
//! A process without its network thread or its database's writer looks alive and is not. It must end, so that its
//! supervisor detects it and starts another one. [`end_on_panic`] does that for every thread, no matter how it was
//! started. [`contain`] and [`contain_task`] are for work whose failure costs only one session or one request.

use std::{
    any::Any,
    cell::Cell,
    fmt,
    future::{Future, poll_fn},
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Poll,
};

/// The exit status of a process that a panic has ended: the one of Rust's own programs when their main thread panics.
pub const CRASHED: u8 = 101;

thread_local! {
    /// How many callers up this thread's stack contain panics.
    static CONTAINED: Cell<u32> = const { Cell::new(0) };
}

/// Held by the thread that reports a panic, and kept until the end of the process by the one that ends it: of two
/// threads that panic at once, the first one's reason is the log's last line.
static TELLING: Mutex<()> = Mutex::new(());

/// From now on a panic in any thread that is not contained ends this process at once with [`CRASHED`]. The log has the
/// panic as usual, and as its last line `program: crashed in the thread ... at ...: reason`. Nothing more is written or
/// flushed: the state of a process of which a part has failed cannot be trusted, so it leaves the same behind as a
/// killed one.
pub fn end_on_panic(program: &'static str) {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let telling = lock_telling();
        tell(panic);
        // While a thread ends, its locals may be gone: then nothing is contained.
        if CONTAINED.try_with(Cell::get).unwrap_or(0) > 0 {
            return;
        }
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        end_telling(telling, program, &format!("at {place}: {}", reason(panic.payload())));
    }));
}

/// Ends this process like a panic. For contained failures that turn out to affect more than one session.
pub fn end(program: &str, reason: &str) -> ! {
    end_telling(lock_telling(), program, reason)
}

fn lock_telling() -> MutexGuard<'static, ()> {
    TELLING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end_telling(_telling: MutexGuard<'static, ()>, program: &str, reason: &str) -> ! {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("without a name");
    let line = format!("{program}: crashed in the thread {name} {reason}").replace('\n', " ");
    // Kept locked, so that no other thread's log comes after this line.
    let mut log = std::io::stderr().lock();
    // A log that cannot be written must not keep the process alive.
    let _ = writeln!(log, "{line}");
    std::process::exit(i32::from(CRASHED))
}

/// A contained panic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked(String);

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.0)
    }
}

impl std::error::Error for Panicked {}

/// Runs `work`. A panic in it, on this thread, does not end the process. The state that `work` changes and the caller
/// continues to use must be valid after a panic.
///
/// # Errors
/// [`Panicked`], with the panic's message.
pub fn contain<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    let _inside = Inside::new();
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| Panicked(reason(&*payload)))
}

/// [`contain`] for a task: it may be polled by any thread.
///
/// # Errors
/// [`Panicked`]; the task has then ended.
pub async fn contain_task<F: Future>(task: F) -> Result<F::Output, Panicked> {
    let mut task = pin!(task);
    poll_fn(|context| match contain(|| task.as_mut().poll(context)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}

/// As long as it lives, panics of this thread are contained.
struct Inside;

impl Inside {
    fn new() -> Self {
        CONTAINED.set(CONTAINED.get() + 1);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        CONTAINED.set(CONTAINED.get() - 1);
    }
}

fn reason(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "no reason was given".to_owned(),
    }
}

/// A place at which a test can plant a fault: it panics if the environment variable `SIDEREAL_PLANTED_FAULT` is
/// `place`. Only with the feature `planted-faults`, which no program enables; otherwise it does nothing.
#[inline]
pub fn fault_point(place: &str) {
    #[cfg(feature = "planted-faults")]
    {
        use std::sync::LazyLock;
        static PLANTED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("SIDEREAL_PLANTED_FAULT").ok());
        if PLANTED.as_deref() == Some(place) {
            panic!("planted in {place}");
        }
    }
    #[cfg(not(feature = "planted-faults"))]
    let _ = place;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Waker};

    #[test]
    fn what_is_contained_says_why_it_failed() {
        assert_eq!(contain(|| 7), Ok(7));
        assert_eq!(contain(|| -> u8 { panic!("planted {}", 1) }), Err(Panicked("planted 1".to_owned())));
        assert_eq!(contain(|| -> u8 { std::panic::panic_any(1u8) }), Err(Panicked("no reason was given".to_owned())));
        assert_eq!(CONTAINED.get(), 0);
    }

    #[test]
    fn a_task_is_contained_while_it_is_polled_and_not_between() {
        let mut polls = 0;
        let mut task = pin!(contain_task(poll_fn(|_| {
            polls += 1;
            assert_eq!(CONTAINED.get(), 1);
            if polls == 3 { panic!("planted") } else { Poll::<u8>::Pending }
        })));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            assert_eq!(task.as_mut().poll(&mut context), Poll::Pending);
            assert_eq!(CONTAINED.get(), 0);
        }
        assert_eq!(task.as_mut().poll(&mut context), Poll::Ready(Err(Panicked("planted".to_owned()))));
        assert_eq!(CONTAINED.get(), 0);
    }
}
