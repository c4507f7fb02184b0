//! Packs the browser client: bindings for the page, a smaller program, and compressed copies of the files.
//!
//! A build tool, called by `web/build`; no part of it runs in the game. It is wasm-bindgen's own library in a program
//! of this workspace, so that the lock file keeps bindings and program at one version.

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};
use wasm_bindgen_cli_support::Bindgen;

/// The page's name for the program.
const NAME: &str = "sidereal_web";
/// The version of this packing, raised when it changes.
const FORMAT: &str = "1";
/// Stored in the folder, to detect whether anything has changed. The server ignores names that begin with a dot.
const STAMP: &str = ".packed";
/// The features that the compiler uses; `--all-features` would use some that browsers refuse.
const WASM_FEATURES: [&str; 7] = [
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
    "--enable-multivalue",
];
/// Extensions that are worth compressing.
const COMPRESSED: [&str; 5] = ["wasm", "js", "html", "css", "json"];
/// Brotli's slowest and best...
const BROTLI_QUALITY: i32 = 11;
/// ...a quick level, and the window that every browser supports.
const QUICK_BROTLI_QUALITY: i32 = 4;
const BROTLI_WINDOW_BITS: i32 = 24;

/// Pack the browser client
#[derive(Parser, Debug)]
#[command(name = "sidereal-pack", version)]
struct Options {
    /// What cargo built
    #[arg(long)]
    wasm: PathBuf,
    /// The page's own files
    #[arg(long)]
    page: PathBuf,
    /// Output folder; its content is replaced
    #[arg(long)]
    out: PathBuf,
    /// Binaryen's wasm-opt; without it the program stays larger
    #[arg(long)]
    wasm_opt: Option<PathBuf>,
    /// Compress quickly rather than well
    #[arg(long)]
    quick: bool,
}

fn main() -> ExitCode {
    match pack(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sidereal-pack: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn pack(options: &Options) -> Result<()> {
    let stamp = stamp(options)?;
    if fs::read_to_string(options.out.join(STAMP)).is_ok_and(|before| before == stamp) {
        return Ok(());
    }
    // Beside it, so that a server never finds half of it there.
    let part = with_ending(&options.out, "part");
    remove(&part)?;
    fs::create_dir_all(&part).with_context(|| format!("cannot make {}", part.display()))?;
    bind(&options.wasm, &part)?;
    let program = part.join(format!("{NAME}_bg.wasm"));
    let built_bytes = size(&program)?;
    if let Some(wasm_opt) = &options.wasm_opt {
        optimise(wasm_opt, &program)?;
    }
    copy_page(&options.page, &part)?;
    let build = json!({ "wasm_bytes": size(&program)? });
    fs::write(part.join("build.json"), build.to_string())?;
    compress_all(&part, if options.quick { QUICK_BROTLI_QUALITY } else { BROTLI_QUALITY })?;
    fs::write(part.join(STAMP), &stamp)?;
    remove(&options.out)?;
    fs::rename(&part, &options.out).with_context(|| format!("cannot make {}", options.out.display()))?;
    let program = options.out.join(format!("{NAME}_bg.wasm"));
    let brotli_bytes = size(&with_ending(&program, "br"))?;
    println!(
        "packed {}: {built_bytes} bytes of wasm as built, {} optimised, {brotli_bytes} in brotli",
        options.out.display(),
        size(&program)?
    );
    Ok(())
}

/// A fingerprint of the input.
fn stamp(options: &Options) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(FORMAT);
    hash.update([u8::from(options.wasm_opt.is_some()), u8::from(options.quick)]);
    let wasm = fs::read(&options.wasm)
        .with_context(|| format!("cannot read {}: build it as web/build does", options.wasm.display()))?;
    hash.update(wasm);
    for path in page_files(&options.page)? {
        hash.update(path.to_string_lossy().as_bytes());
        hash.update(fs::read(&path)?);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes the program and its bindings as a module that the page imports.
fn bind(wasm: &Path, out: &Path) -> Result<()> {
    let mut bindgen = Bindgen::new();
    bindgen.input_path(wasm).out_name(NAME).typescript(false);
    bindgen.web(true).context("wasm-bindgen has no modules for the web")?;
    bindgen.generate(out).with_context(|| format!("wasm-bindgen cannot read {}", wasm.display()))
}

fn optimise(wasm_opt: &Path, program: &Path) -> Result<()> {
    let smaller = with_ending(program, "smaller");
    let status = Command::new(wasm_opt)
        .arg("-Oz")
        .args(WASM_FEATURES)
        .arg("--output")
        .arg(&smaller)
        .arg(program)
        .status()
        .with_context(|| format!("cannot start {}", wasm_opt.display()))?;
    ensure!(status.success(), "{} failed: {status}", wasm_opt.display());
    fs::rename(&smaller, program).context("wasm-opt wrote nothing")
}

fn page_files(page: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(page).with_context(|| format!("cannot read the page's folder {}", page.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        bail!("there is no page in {}", page.display());
    }
    Ok(files)
}

fn copy_page(page: &Path, out: &Path) -> Result<()> {
    for path in page_files(page)? {
        let name = path.file_name().context("a file has a name")?;
        fs::copy(&path, out.join(name)).with_context(|| format!("cannot copy {}", path.display()))?;
    }
    Ok(())
}

fn compress_all(folder: &Path, quality: i32) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_worth_it = path.extension().is_some_and(|ending| COMPRESSED.iter().any(|known| ending == *known));
        if !is_worth_it {
            continue;
        }
        let plain = fs::read(&path)?;
        let mut compressed = Vec::new();
        let parameters = brotli::enc::BrotliEncoderParams { quality, lgwin: BROTLI_WINDOW_BITS, ..Default::default() };
        brotli::BrotliCompress(&mut plain.as_slice(), &mut compressed, &parameters)?;
        if compressed.len() < plain.len() {
            fs::write(with_ending(&path, "br"), compressed)?;
        }
    }
    Ok(())
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn size(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).with_context(|| format!("cannot find {}", path.display()))?.len())
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot empty {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The smallest program: a header and nothing.
    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

    fn options(folder: &Path) -> Options {
        let page = folder.join("page");
        fs::create_dir_all(&page).unwrap();
        fs::write(page.join("index.html"), "<!doctype html>".repeat(100)).unwrap();
        fs::write(folder.join("in.wasm"), EMPTY).unwrap();
        Options { wasm: folder.join("in.wasm"), page, out: folder.join("out"), wasm_opt: None, quick: true }
    }

    #[test]
    fn what_is_missing_is_named_and_what_was_packed_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut options = options(folder.path());
        fs::create_dir_all(&options.out).unwrap();
        fs::write(options.out.join("index.html"), "before").unwrap();
        options.wasm = folder.path().join("nowhere.wasm");
        let error = pack(&options).unwrap_err();
        assert!(format!("{error:#}").contains("nowhere.wasm"), "{error:#}");
        fs::write(folder.path().join("nowhere.wasm"), "no program").unwrap();
        assert!(pack(&options).is_err());
        assert_eq!(fs::read_to_string(options.out.join("index.html")).unwrap(), "before");
    }

    #[test]
    fn another_page_is_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        let before = stamp(&options).unwrap();
        assert_eq!(stamp(&options).unwrap(), before);
        fs::write(options.page.join("index.html"), "else").unwrap();
        assert_ne!(stamp(&options).unwrap(), before);
    }

    #[test]
    fn compressed_files_read_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        compress_all(&options.page, QUICK_BROTLI_QUALITY).unwrap();
        let compressed = fs::read(options.page.join("index.html.br")).unwrap();
        let mut plain = Vec::new();
        brotli::BrotliDecompress(&mut compressed.as_slice(), &mut plain).unwrap();
        assert_eq!(plain, fs::read(options.page.join("index.html")).unwrap());
    }
}
