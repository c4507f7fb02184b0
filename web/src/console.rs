//! The log in the browser's console, and the reason of a fatal end for the page.

use std::io::Write;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};
use wasm_bindgen::JsValue;

/// The filter of the log. A browser has no environment to change it.
const FILTER: &str = "info,naia_shared=warn,naia_client=error,naia_client::handshake=error,naia_bevy_client=error,\
                      wgpu_hal=error,wgpu_core=warn,bevy_render=warn,winit=error,bevy_winit=warn";

/// Starts the log, which includes panics. A second call does nothing.
pub fn start_log() {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(FILTER))
        .with_ansi(false)
        .without_time()
        .with_writer(Console)
        .finish();
    if tracing::subscriber::set_global_default(log).is_ok() {
        std::panic::set_hook(Box::new(|panic| web_sys::console::error_1(&panic.to_string().into())));
    }
}

/// Lines for the console.
struct Console;

impl<'a> MakeWriter<'a> for Console {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(Vec::new())
    }
}

/// A line; printed when it is dropped.
struct Line(Vec<u8>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.0);
        web_sys::console::log_1(&JsValue::from_str(text.trim_end()));
    }
}
