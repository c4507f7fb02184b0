//! The one log of a run: every process's lines on standard output, each after the name of its process.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of one line that are kept; the rest is cut off, so that a child that never ends its line cannot fill the
/// memory.
pub const MAX_LINE_BYTES: usize = 8 * 1024;

/// Lines of a process that are kept, to be shown when it dies.
const LAST_LINES: usize = 12;

/// Colours that can be distinguished on light and dark backgrounds; red is left for errors. ANSI numbers.
const COLOURS: [u8; 5] = [32, 33, 35, 34, 36];

/// The origin of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    name: String,
    colour: u8,
}

impl Label {
    /// A process by its name; `index` selects the colour.
    pub fn new(name: impl Into<String>, index: usize) -> Self {
        Self { name: name.into(), colour: COLOURS[index % COLOURS.len()] }
    }

    /// The launcher itself: bold, no colour.
    pub fn launcher() -> Self {
        Self { name: "sidereal".into(), colour: 1 }
    }

    /// The process's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Writes labelled lines, one at a time, from any thread.
pub struct Log {
    out: Mutex<Box<dyn Write + Send>>,
    width: usize,
    colour: bool,
    closed: AtomicBool,
}

impl Log {
    /// A log to `out`, with room for names of `width` characters.
    pub fn new(out: Box<dyn Write + Send>, width: usize, colour: bool) -> Self {
        Self { out: Mutex::new(out), width, colour, closed: AtomicBool::new(false) }
    }

    /// Whether it writes colours, and therefore processes may as well.
    pub fn is_coloured(&self) -> bool {
        self.colour
    }

    /// Whether the reader is gone (`./run-local | head`): then nothing more can be written.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Writes one line of `label`. Control characters are left out: a line from a process may quote anything. With
    /// colours on, escape sequences pass, because the processes colour their lines too.
    pub fn line(&self, label: &Label, text: &str) {
        let shown = text.chars().filter(|c| !c.is_control() || *c == '\t' || (*c == '\x1b' && self.colour));
        let (name, width) = (&label.name, self.width);
        let line = if self.colour {
            format!("\x1b[{}m{name:width$} |\x1b[0m {}\x1b[0m\n", label.colour, shown.collect::<String>())
        } else {
            format!("{name:width$} | {}\n", shown.collect::<String>())
        };
        let mut out = self.out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
            self.closed.store(true, Ordering::Relaxed);
        }
    }
}

/// The newest lines of one process.
#[derive(Debug, Default)]
pub struct LastLines(VecDeque<String>);

impl LastLines {
    /// Keeps `line`, and drops the oldest one beyond the limit.
    pub fn push(&mut self, line: String) {
        if self.0.len() == LAST_LINES {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }

    /// Oldest first.
    pub fn to_vec(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

/// The next line of `reader` without its end, at most [`MAX_LINE_BYTES`] of it; `None` at the end of the stream.
/// Invalid UTF-8 is replaced.
///
/// # Errors
/// Errors of the stream.
pub fn read_line(reader: &mut impl io::BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        let buffer = match reader.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if buffer.is_empty() && line.is_empty() {
            return Ok(None);
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = end.unwrap_or(buffer.len());
        let room = MAX_LINE_BYTES.saturating_sub(line.len());
        line.extend_from_slice(&buffer[..part.min(room)]);
        let ended = end.is_some() || buffer.is_empty();
        reader.consume(part + usize::from(end.is_some()));
        if ended {
            return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no writer panicked").write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(colour: bool, lines: &[(&Label, &str)]) -> String {
        let out = Shared::default();
        let log = Log::new(Box::new(out.clone()), 7, colour);
        for (label, text) in lines {
            log.line(label, text);
        }
        String::from_utf8(out.0.lock().expect("no writer panicked").clone()).expect("it is text")
    }

    #[test]
    fn names_are_aligned_and_control_characters_left_out() {
        let lines = [(&Label::new("server", 0), "up\x07\x1b[31m\r"), (&Label::new("shard-1", 1), "a\tb")];
        assert_eq!(written(false, &lines), "server  | up[31m\nshard-1 | a\tb\n");
    }

    #[test]
    fn with_colours_each_name_has_its_own_and_a_line_leaves_none_behind() {
        let text = written(true, &[(&Label::new("server", 0), "\x1b[31mbad"), (&Label::new("shard-1", 1), "x")]);
        assert_eq!(text, "\x1b[32mserver  |\x1b[0m \x1b[31mbad\x1b[0m\n\x1b[33mshard-1 |\x1b[0m x\x1b[0m\n");
    }

    #[test]
    fn a_reader_that_went_away_is_noticed() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let log = Log::new(Box::new(Gone), 7, false);
        assert!(!log.is_closed());
        log.line(&Label::launcher(), "anybody there?");
        assert!(log.is_closed());
    }

    #[test]
    fn a_line_is_cut_at_its_limit_and_the_next_one_is_whole() {
        let text = format!("{}\nnext\r\n\nlast", "x".repeat(3 * MAX_LINE_BYTES));
        let mut reader = BufReader::with_capacity(100, text.as_bytes());
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut reader).expect("memory is read") {
            lines.push(line);
        }
        assert_eq!(lines[0].len(), MAX_LINE_BYTES);
        assert_eq!(lines[1..], ["next\r", "", "last"]);
    }

    #[test]
    fn the_last_lines_are_the_newest_ones() {
        let mut last = LastLines::default();
        (0..100).for_each(|n| last.push(n.to_string()));
        let kept = last.to_vec();
        assert_eq!(kept.len(), LAST_LINES);
        assert_eq!(kept.last().map(String::as_str), Some("99"));
    }
}
