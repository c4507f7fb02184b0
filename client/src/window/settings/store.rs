//! Stores settings: in a file of the user's, or in the browser's local storage. They are written completely or not at
//! all.

/// Where to store settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Place {
    /// Nowhere: the defaults are used at every start.
    #[default]
    Nowhere,
    /// The user's settings folder: see docs/PLAYING.md.
    Usual,
    /// In this file.
    #[cfg(not(target_arch = "wasm32"))]
    File(std::path::PathBuf),
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use file::Store;

#[cfg(not(target_arch = "wasm32"))]
mod file {
    use super::Place;
    use std::{
        ffi::OsString,
        fs, io,
        path::{Path, PathBuf},
    };

    /// The most renamed files; beyond it nothing is stored until the player has removed some.
    const MAX_ASIDE: u32 = 99;

    /// A file, or nothing.
    #[derive(Debug)]
    pub(crate) struct Store {
        path: Option<PathBuf>,
        is_frozen: bool,
    }

    impl Store {
        pub(crate) fn new(place: Place) -> Self {
            let path = match place {
                Place::Nowhere => None,
                Place::Usual => usual_path(|name| std::env::var_os(name).filter(|value| !value.is_empty())),
                Place::File(path) => Some(path),
            };
            Self { path, is_frozen: false }
        }

        /// The stored settings; `None` without any.
        pub(crate) fn read(&self) -> Result<Option<String>, String> {
            let Some(path) = &self.path else { return Ok(None) };
            match fs::read(path) {
                // Invalid UTF-8 is not valid settings either: the parser reports it.
                Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(format!("{}: {error}", path.display())),
            }
        }

        /// Stores `text` in place of the old settings.
        pub(crate) fn write(&self, text: &str) -> Result<(), String> {
            let Some(path) = self.path.as_ref().filter(|_| !self.is_frozen) else { return Ok(()) };
            let part = with_ending(path, &format!(".part-{}", std::process::id()));
            let folder = path.parent().unwrap_or(Path::new(""));
            let written =
                fs::create_dir_all(folder).and_then(|()| fs::write(&part, text)).and_then(|()| fs::rename(&part, path));
            written.map_err(|error| {
                let _ = fs::remove_file(&part);
                format!("{}: {error}", path.display())
            })
        }

        /// Renames the stored file; returns its new name.
        pub(crate) fn put_aside(&self, _text: &str) -> Result<String, String> {
            let Some(path) = &self.path else { return Err("there is none".to_owned()) };
            let free = (1..=MAX_ASIDE)
                .map(|number| with_ending(path, &format!(".aside-{number}")))
                .find(|aside| !aside.exists())
                .ok_or_else(|| format!("there are {MAX_ASIDE} beside {} already", path.display()))?;
            fs::rename(path, &free).map_err(|error| error.to_string())?;
            Ok(free.display().to_string())
        }

        /// From now on nothing is written.
        pub(crate) fn freeze(&mut self) {
            self.is_frozen = true;
        }
    }

    fn with_ending(path: &Path, ending: &str) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    }

    /// The file in the user's own settings folder, as named by the environment.
    fn usual_path(var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
        let folder = |name: &str| var(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let settings = if cfg!(target_os = "windows") {
            folder("APPDATA")
        } else if cfg!(target_os = "macos") {
            folder("HOME").map(|home| home.join("Library/Application Support"))
        } else {
            folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))
        };
        settings.map(|settings| settings.join("sidereal").join("settings.json"))
    }

    #[cfg(all(test, target_os = "linux"))]
    mod tests {
        use super::*;

        #[test]
        fn the_usual_file_is_in_the_users_folder_for_settings() {
            let path = |vars: &'static [(&str, &str)]| {
                usual_path(|name| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
            };
            let expected = |path: &str| Some(PathBuf::from(path));
            assert_eq!(path(&[("HOME", "/home/ada")]), expected("/home/ada/.config/sidereal/settings.json"));
            let both = path(&[("HOME", "/home/ada"), ("XDG_CONFIG_HOME", "/etc/ada")]);
            assert_eq!(both, expected("/etc/ada/sidereal/settings.json"));
            assert_eq!(path(&[("XDG_CONFIG_HOME", "not/absolute")]), None);
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub(crate) use browser::Store;

#[cfg(target_arch = "wasm32")]
mod browser {
    use super::Place;

    /// Keys of the page's local storage.
    const KEY: &str = "sidereal.settings";
    const ASIDE_KEY: &str = "sidereal.settings.aside";
    /// The most renamed settings; beyond it nothing is stored until the player has removed some.
    const MAX_ASIDE: u32 = 9;

    /// The browser's local storage, or nothing.
    pub(crate) struct Store {
        is_kept: bool,
    }

    fn storage() -> Result<web_sys::Storage, String> {
        web_sys::window()
            .and_then(|window| window.local_storage().ok().flatten())
            .ok_or_else(|| "the browser stores nothing for this page".to_owned())
    }

    impl Store {
        pub(crate) fn new(place: Place) -> Self {
            Self { is_kept: place == Place::Usual }
        }

        pub(crate) fn read(&self) -> Result<Option<String>, String> {
            if !self.is_kept {
                return Ok(None);
            }
            storage()?.get_item(KEY).map_err(|error| format!("{error:?}"))
        }

        pub(crate) fn write(&self, text: &str) -> Result<(), String> {
            if !self.is_kept {
                return Ok(());
            }
            storage()?.set_item(KEY, text).map_err(|error| format!("{error:?}"))
        }

        pub(crate) fn put_aside(&self, text: &str) -> Result<String, String> {
            let storage = storage()?;
            let key = (1..=MAX_ASIDE)
                .map(|number| format!("{ASIDE_KEY}-{number}"))
                .find(|key| matches!(storage.get_item(key), Ok(None)))
                .ok_or_else(|| format!("there are {MAX_ASIDE} already"))?;
            storage.set_item(&key, text).map_err(|error| format!("{error:?}"))?;
            storage.remove_item(KEY).map_err(|error| format!("{error:?}"))?;
            Ok(format!("{key} in the browser's storage"))
        }

        pub(crate) fn freeze(&mut self) {
            self.is_kept = false;
        }
    }
}
