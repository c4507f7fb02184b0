//! The parts of the browser's `WebTransport` that a session needs. Runs in the browser client.
//!
//! Called by name: `web-sys` has it only behind a compiler flag.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use js_sys::{Array, Function, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, ReadableStreamDefaultReader, WritableStream, WritableStreamDefaultWriter};

use crate::session::wire::clean_reason;

/// The most datagrams passed to the browser and not sent yet; more are dropped. Some ticks' worth.
const MAX_IN_FLIGHT: u32 = 64;
/// Datagrams that the browser keeps until they are read. The default is one; the others would be lost.
const INCOMING_DATAGRAMS: u32 = 512;
/// Datagrams that the browser keeps until they are sent.
const OUTGOING_DATAGRAMS: u32 = 32;
/// Milliseconds after which the browser drops a datagram that it could not send: such old state is stale.
const OUTGOING_MAX_AGE_MS: u32 = 500;

/// Sleeps for `duration` of the browser's time; a hidden tab sleeps longer.
pub(super) async fn sleep(duration: Duration) {
    let milliseconds = duration.as_millis() as f64;
    let promise = Promise::new(&mut |resolve, _| {
        // Without timers the game cannot run at all.
        let _ = call(&js_sys::global(), "setTimeout", &[resolve.into(), milliseconds.into()]);
    });
    let _ = JsFuture::from(promise).await;
}

/// One session with a server. Closed when it is dropped.
pub(super) struct Connection(JsValue);

impl Connection {
    /// Starts to connect.
    ///
    /// # Errors
    /// When the browser has no WebTransport, or refuses to connect.
    pub(super) fn new(url: &str, certificate_hashes: &[[u8; 32]]) -> Result<Self, String> {
        let constructor = get(&js_sys::global(), "WebTransport")
            .ok()
            .and_then(|value| value.dyn_into::<Function>().ok())
            .ok_or("this browser has no WebTransport here: use a current Chrome, Edge or Firefox, over https or on localhost")?;
        let options = Object::new();
        let hashes = Array::new();
        for hash in certificate_hashes {
            let entry = Object::new();
            set(&entry, "algorithm", "sha-256".into());
            set(&entry, "value", Uint8Array::from(&hash[..]).into());
            hashes.push(&entry);
        }
        if hashes.length() > 0 {
            set(&options, "serverCertificateHashes", hashes.into());
        }
        // Old state is worthless: as little queueing on the way as the browser can do.
        set(&options, "congestionControl", "low-latency".into());
        let connection = Reflect::construct(&constructor, &Array::of2(&url.into(), &options))
            .map_err(|error| format!("this browser does not connect to {url}: {}", text(&error)))?;
        Ok(Self(connection))
    }

    /// Waits until it is open.
    pub(super) async fn ready(&self) -> Result<(), String> {
        JsFuture::from(promise(&self.0, "ready")?).await.map(|_| ()).map_err(|error| text(&error))
    }

    /// Waits until it is over; returns one line with the reason.
    pub(super) async fn closed(&self) -> String {
        let closed = match promise(&self.0, "closed") {
            Ok(closed) => JsFuture::from(closed).await,
            Err(error) => return error,
        };
        match closed {
            Ok(info) => match get(&info, "reason").ok().and_then(|reason| reason.as_string()) {
                Some(reason) if !reason.is_empty() => clean_reason(reason.as_bytes()),
                _ => "closed by the peer".to_owned(),
            },
            Err(error) => format!("the connection was lost ({})", text(&error)),
        }
    }

    /// Ends it. Without effect if it has ended already.
    pub(super) fn close(&self, code: u32, reason: &str) {
        let info = Object::new();
        set(&info, "closeCode", code.into());
        set(&info, "reason", reason.into());
        // It throws if it is closed already.
        let _ = call(&self.0, "close", &[info.into()]);
    }

    /// Opens a stream.
    pub(super) async fn open_stream(&self) -> Result<(StreamWriter, StreamReader), String> {
        let opening = call(&self.0, "createBidirectionalStream", &[])?;
        let stream = JsFuture::from(opening.unchecked_into::<Promise>()).await.map_err(|error| text(&error))?;
        let writer = writer_of(get(&stream, "writable")?)?;
        let reader = reader_of(get(&stream, "readable")?)?;
        Ok((StreamWriter(writer), StreamReader { reader, buffer: BytesMut::new() }))
    }

    /// Its datagrams, to send and to receive. Called once.
    pub(super) fn datagrams(&self) -> Result<(DatagramWriter, DatagramReader), String> {
        let datagrams = get(&self.0, "datagrams")?;
        for (name, value) in [
            ("incomingHighWaterMark", INCOMING_DATAGRAMS),
            ("outgoingHighWaterMark", OUTGOING_DATAGRAMS),
            ("outgoingMaxAge", OUTGOING_MAX_AGE_MS),
        ] {
            set(&datagrams, name, value.into());
        }
        // In later drafts of the standard the writable is a method.
        let writable = match call(&datagrams, "createWritable", &[]) {
            Ok(writable) => writable,
            Err(_) => get(&datagrams, "writable")?,
        };
        let reader = reader_of(get(&datagrams, "readable")?)?;
        Ok((DatagramWriter::new(writer_of(writable)?), DatagramReader(reader)))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close(0, "the client ended");
    }
}

/// Sends datagrams.
pub(super) struct DatagramWriter {
    writer: WritableStreamDefaultWriter,
    in_flight: Rc<Cell<u32>>,
    settled: Closure<dyn FnMut(JsValue)>,
}

impl DatagramWriter {
    fn new(writer: WritableStreamDefaultWriter) -> Self {
        let in_flight = Rc::new(Cell::new(0u32));
        let count = in_flight.clone();
        // A failure means that the connection has ended, which reports the reason.
        let settled = Closure::new(move |_| count.set(count.get().saturating_sub(1)));
        Self { writer, in_flight, settled }
    }

    /// Passes a datagram to the browser; false if too many wait there already.
    pub(super) fn send(&self, prefix: u8, payload: &[u8]) -> bool {
        if self.in_flight.get() >= MAX_IN_FLIGHT {
            return false;
        }
        let length = payload.len() as u32 + 1;
        let chunk = Uint8Array::new_with_length(length);
        chunk.set_index(0, prefix);
        chunk.subarray(1, length).copy_from(payload);
        self.in_flight.set(self.in_flight.get() + 1);
        let _ = self.writer.write_with_chunk(&chunk).then2(&self.settled, &self.settled);
        true
    }
}

/// Receives datagrams.
pub(super) struct DatagramReader(ReadableStreamDefaultReader);

impl DatagramReader {
    /// The next one; `None` when the connection has ended.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        Some(read(&self.0).await?.to_vec())
    }
}

/// Writes to a stream.
pub(super) struct StreamWriter(WritableStreamDefaultWriter);

impl StreamWriter {
    /// Writes all bytes, with the stream's back-pressure.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let writing = self.0.write_with_chunk(&Uint8Array::from(bytes));
        JsFuture::from(writing).await.map(|_| ()).map_err(|error| text(&error))
    }
}

/// Reads from a stream.
pub(super) struct StreamReader {
    reader: ReadableStreamDefaultReader,
    buffer: BytesMut,
}

impl StreamReader {
    /// Reads one length-prefixed body of at most `max` bytes.
    pub(super) async fn read_framed(&mut self, max: usize) -> Result<Bytes, String> {
        self.fill(4).await?;
        let [a, b, c, d] = self.buffer[..4] else { return Err("nothing came".to_owned()) };
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length == 0 || length > max {
            return Err("the length of a stream frame is malformed".to_owned());
        }
        self.fill(4 + length).await?;
        let _length = self.buffer.split_to(4);
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn fill(&mut self, bytes: usize) -> Result<(), String> {
        while self.buffer.len() < bytes {
            let chunk = read(&self.reader).await.ok_or("the stream ended")?;
            let start = self.buffer.len();
            self.buffer.resize(start + chunk.length() as usize, 0);
            chunk.copy_to(&mut self.buffer[start..]);
        }
        Ok(())
    }
}

/// The next chunk of a byte stream; `None` at its end and after a failure.
async fn read(reader: &ReadableStreamDefaultReader) -> Option<Uint8Array> {
    let result = JsFuture::from(reader.read()).await.ok()?;
    get(&result, "value").ok()?.dyn_into().ok()
}

fn reader_of(readable: JsValue) -> Result<ReadableStreamDefaultReader, String> {
    let readable: ReadableStream = readable.dyn_into().map_err(|value| text(&value))?;
    ReadableStreamDefaultReader::new(&readable).map_err(|error| text(&error))
}

fn writer_of(writable: JsValue) -> Result<WritableStreamDefaultWriter, String> {
    let writable: WritableStream = writable.dyn_into().map_err(|value| text(&value))?;
    writable.get_writer().map_err(|error| text(&error))
}

fn get(object: &JsValue, name: &str) -> Result<JsValue, String> {
    Reflect::get(object, &name.into()).map_err(|error| text(&error))
}

/// Options that the browser does not support are ignored.
fn set(object: &JsValue, name: &str, value: JsValue) {
    let _ = Reflect::set(object, &name.into(), &value);
}

fn call(object: &JsValue, name: &str, arguments: &[JsValue]) -> Result<JsValue, String> {
    let method: Function = get(object, name)?.dyn_into().map_err(|_| format!("the browser has no {name}"))?;
    let list: Array = arguments.iter().collect();
    method.apply(object, &list).map_err(|error| text(&error))
}

fn promise(object: &JsValue, name: &str) -> Result<Promise, String> {
    get(object, name)?.dyn_into().map_err(|_| format!("the browser has no {name}"))
}

/// The text of a browser's error, on one line.
fn text(error: &JsValue) -> String {
    let message = Reflect::get(error, &"message".into()).ok().and_then(|message| message.as_string());
    clean_reason(message.unwrap_or_else(|| format!("{error:?}")).as_bytes())
}
