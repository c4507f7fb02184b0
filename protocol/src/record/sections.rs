//! Sections: the parts of a record beside its header and motion. Each capability declares its own.
//!
//! A section has a number, a version and bytes. A process that does not know a section's number carries it on unchanged.
//! [`SECTIONS`] lists the sections that this crate knows. [`EntityRecord::validate`](super::EntityRecord::validate) rejects
//! what does not belong to an entity's kind.

use super::{
    economy::{DockedAt, ExpiresAt, OreLoad},
    pilots::{DroneMind, Pilot},
    structure::{SettledAt, ShipHull, Structure},
    weapons::{BeamReady, GunReady, LauncherReady, Warhead},
};
use crate::{DecodeError, limits::MAX_SECTIONS_BYTES, rules::economy::Fitted, world::kind::EntityKind};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use std::{fmt, ops::Range};

/// Whether a section may stand in the record of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Never.
    Never,
    /// It may be missing.
    Optional,
    /// Always.
    Required,
}

/// A part of a record that one capability owns.
pub trait Section: Serialize + DeserializeOwned + fmt::Debug {
    /// Its number: once assigned, never used for anything else.
    const ID: u16;
    /// The version that this build writes. It is raised when the layout changes; [`Section::read`] reads the older ones.
    const VERSION: u8 = 1;
    /// Its name in errors.
    const NAME: &'static str;

    /// Whether a record of `kind` may have it.
    fn presence(kind: EntityKind) -> Presence;

    /// Whether its values are in range.
    ///
    /// # Errors
    /// [`DecodeError::OutOfRange`] names the field.
    fn check(&self) -> Result<(), DecodeError> {
        Ok(())
    }

    /// Whether it equals what a missing section means. [`Sections::set`] then removes the section.
    fn is_default(&self) -> bool {
        false
    }

    /// Reads the bytes that `version` wrote. A section with older versions overrides it, with one type for each of them.
    ///
    /// # Errors
    /// [`DecodeError::UnknownSectionVersion`], or [`DecodeError::Malformed`].
    fn read(version: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        if version != Self::VERSION {
            return Err(DecodeError::UnknownSectionVersion { section: Self::NAME, version });
        }
        read_exactly(bytes)
    }
}

/// A value of exactly these bytes.
///
/// # Errors
/// [`DecodeError::Malformed`]: too few bytes, too many, or an impossible value.
pub fn read_exactly<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(DecodeError::Malformed(format!("{} bytes follow the end", rest.len()))),
        Err(error) => Err(DecodeError::Malformed(error.to_string())),
    }
}

/// What this crate knows of a section: a row of [`SECTIONS`].
#[derive(Clone, Copy)]
pub struct SectionSpec {
    /// Its number.
    pub id: u16,
    /// Its name in errors.
    pub name: &'static str,
    presence: fn(EntityKind) -> Presence,
    check: fn(u8, &[u8]) -> Result<(), DecodeError>,
    show: fn(u8, &[u8]) -> Option<String>,
}

impl SectionSpec {
    const fn of<S: Section>() -> Self {
        Self {
            id: S::ID,
            name: S::NAME,
            presence: S::presence,
            check: |version, bytes| S::read(version, bytes)?.check(),
            show: |version, bytes| S::read(version, bytes).ok().map(|section| format!("{section:?}")),
        }
    }

    /// Whether a record of `kind` may have it.
    pub fn presence(&self, kind: EntityKind) -> Presence {
        (self.presence)(kind)
    }
}

impl fmt::Debug for SectionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "section {} ({})", self.id, self.name)
    }
}

/// The sections of this crate, by their numbers. A new one is one line here.
pub const SECTIONS: [SectionSpec; 13] = [
    SectionSpec::of::<Structure>(),
    SectionSpec::of::<ShipHull>(),
    SectionSpec::of::<SettledAt>(),
    SectionSpec::of::<Pilot>(),
    SectionSpec::of::<DroneMind>(),
    SectionSpec::of::<GunReady>(),
    SectionSpec::of::<LauncherReady>(),
    SectionSpec::of::<BeamReady>(),
    SectionSpec::of::<Warhead>(),
    SectionSpec::of::<DockedAt>(),
    SectionSpec::of::<Fitted>(),
    SectionSpec::of::<OreLoad>(),
    SectionSpec::of::<ExpiresAt>(),
];

const _: () = {
    let mut row = 1;
    while row < SECTIONS.len() {
        assert!(
            SECTIONS[row - 1].id < SECTIONS[row].id,
            "the rows stand in the order of their numbers, each number once"
        );
        row += 1;
    }
};

/// The sections of one record, encoded, in the order of their numbers.
///
/// Each is its number (varint), its version (a byte), its length (varint, bytes), and its bytes. Bytes from another
/// process are kept as they are: [`EntityRecord::validate`](super::EntityRecord::validate) checks them, and a section that
/// cannot be read counts as missing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sections(Vec<u8>);

/// One section as it stands in the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawSection<'a> {
    /// Its number.
    pub id: u16,
    /// The version that wrote it.
    pub version: u8,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its byte range in [`Sections`], with number, version and length.
    span: Range<usize>,
}

impl Sections {
    /// All of them, in order. The first error is the last item.
    pub fn iter(&self) -> impl Iterator<Item = Result<RawSection<'_>, DecodeError>> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let start = self.0.len() - rest.len();
            match postcard::take_from_bytes::<(u16, u8, &[u8])>(rest) {
                Ok(((id, version, bytes), after)) => {
                    rest = after;
                    Some(Ok(RawSection { id, version, bytes, span: start..self.0.len() - after.len() }))
                }
                Err(error) => {
                    rest = &[];
                    Some(Err(DecodeError::Malformed(format!("sections: {error}"))))
                }
            }
        })
    }

    /// The section of type `S`; `None` if it is missing or cannot be read.
    pub fn get<S: Section>(&self) -> Option<S> {
        let raw = self.iter().map_while(Result::ok).find(|raw| raw.id >= S::ID)?;
        if raw.id == S::ID { S::read(raw.version, raw.bytes).ok() } else { None }
    }

    /// Writes a section in place of the one of the same number.
    pub fn set<S: Section>(&mut self, section: &S) {
        if section.is_default() {
            return self.remove(S::ID);
        }
        // A section is a plain structure: the serializer has no reason to reject it, and then the old one stays.
        if let Ok(bytes) = postcard::to_stdvec(section) {
            self.put(S::ID, S::VERSION, &bytes);
        }
    }

    /// Inserts or replaces the encoded section `id`. The bytes are not checked.
    pub fn put(&mut self, id: u16, version: u8, bytes: &[u8]) {
        if let Ok(encoded) = postcard::to_stdvec(&(id, version, bytes)) {
            let place = self.place_of(id);
            self.0.splice(place, encoded);
        }
    }

    /// Removes the section `id`, if it is there.
    pub fn remove(&mut self, id: u16) {
        let place = self.place_of(id);
        self.0.drain(place);
    }

    /// The sections that `wanted` selects by their numbers, unchanged.
    pub fn only(&self, wanted: impl Fn(u16) -> bool) -> Self {
        let spans = self.iter().map_while(Result::ok).filter(|raw| wanted(raw.id)).map(|raw| raw.span);
        Self(spans.flat_map(|span| &self.0[span]).copied().collect())
    }

    /// Inserts all sections of `others`, which replace those of the same numbers. Takes time in proportion to both.
    pub fn put_all(&mut self, others: &Self) {
        let mut merged = Vec::with_capacity(self.len() + others.len());
        let mut own = self.iter().map_while(Result::ok).peekable();
        for other in others.iter().map_while(Result::ok) {
            while let Some(raw) = own.next_if(|raw| raw.id < other.id) {
                merged.extend_from_slice(&self.0[raw.span]);
            }
            own.next_if(|raw| raw.id == other.id);
            merged.extend_from_slice(&others.0[other.span]);
        }
        own.for_each(|raw| merged.extend_from_slice(&self.0[raw.span]));
        self.0 = merged;
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Length, bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Where section `id` stands, or the empty place where it belongs.
    fn place_of(&self, id: u16) -> Range<usize> {
        let mut end = 0;
        for raw in self.iter().map_while(Result::ok) {
            if raw.id == id {
                return raw.span;
            }
            if raw.id > id {
                return raw.span.start..raw.span.start;
            }
            end = raw.span.end;
        }
        end..end
    }
}

/// Whether these sections are whole, in order, in range, and those of `kind`. Sections with unknown numbers pass.
///
/// # Errors
/// [`DecodeError::TooLong`], [`DecodeError::Malformed`], [`DecodeError::UnknownSectionVersion`], or
/// [`DecodeError::OutOfRange`] with the name of the field or section.
pub fn check(sections: &Sections, kind: EntityKind) -> Result<(), DecodeError> {
    if sections.len() > MAX_SECTIONS_BYTES {
        return Err(DecodeError::TooLong { len: sections.len(), limit: MAX_SECTIONS_BYTES });
    }
    let mut specs = SECTIONS.iter().peekable();
    let mut last = None;
    // A required section that the walk passes over is missing.
    let missing = |spec: &SectionSpec| spec.presence(kind) == Presence::Required;
    for raw in sections.iter() {
        let raw = raw?;
        if last.is_some_and(|last| raw.id <= last) {
            return Err(DecodeError::OutOfRange("order of sections"));
        }
        last = Some(raw.id);
        while let Some(spec) = specs.next_if(|spec| spec.id < raw.id) {
            if missing(spec) {
                return Err(DecodeError::OutOfRange(spec.name));
            }
        }
        if let Some(spec) = specs.next_if(|spec| spec.id == raw.id) {
            if spec.presence(kind) == Presence::Never {
                return Err(DecodeError::OutOfRange(spec.name));
            }
            (spec.check)(raw.version, raw.bytes)?;
        }
    }
    specs.find(|spec| missing(spec)).map_or(Ok(()), |spec| Err(DecodeError::OutOfRange(spec.name)))
}

impl fmt::Debug for Sections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for raw in self.iter() {
            let spec = raw.as_ref().ok().and_then(|raw| SECTIONS.iter().find(|spec| spec.id == raw.id));
            let shown = raw.as_ref().ok().zip(spec).and_then(|(raw, spec)| (spec.show)(raw.version, raw.bytes));
            match (shown, raw) {
                (Some(shown), _) => list.entry(&format_args!("{shown}")),
                (None, Ok(raw)) => list.entry(&(raw.id, raw.version, raw.bytes)),
                (None, Err(error)) => list.entry(&format_args!("{error}")),
            };
        }
        list.finish()
    }
}

impl Serialize for Sections {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Sections {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = Sections;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of sections")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Sections, E> {
                Ok(Sections(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
