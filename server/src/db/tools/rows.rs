//! The tables' rows as a dump has them, one struct for each, in the order in which they can be put back.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use crate::db::tables::schema::{
    accounts, balances, carried, deals, entities, identities, meta, postings, registrations, sectors,
};

/// A setting of the world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Selectable, Insertable)]
#[diesel(table_name = meta)]
pub struct MetaRow {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// An account. The hash of its password is in a dump, the password is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Selectable, Insertable)]
#[diesel(table_name = accounts)]
pub struct AccountRow {
    /// The account.
    #[serde(with = "hex_text")]
    pub id: Vec<u8>,
    /// Its name.
    pub name: String,
    /// PHC string.
    pub password_hash: String,
    /// The ship that its player comes back to.
    #[serde(with = "hex_option")]
    pub ship_id: Option<Vec<u8>>,
    /// Unix time, milliseconds.
    pub created_at: i64,
}

/// Who an account is to another issuer of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Selectable, Insertable)]
#[diesel(table_name = identities)]
pub struct IdentityRow {
    /// Of the tokens.
    pub issuer: String,
    /// Of the tokens.
    #[serde(with = "hex_text")]
    pub subject: Vec<u8>,
    /// The account here.
    #[serde(with = "hex_text")]
    pub account_id: Vec<u8>,
    /// Unix time, milliseconds.
    pub created_at: i64,
}

/// The key of a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Selectable, Insertable)]
#[diesel(table_name = registrations)]
pub struct RegistrationRow {
    /// As it was sent.
    pub idempotency_key: String,
    /// The account that came of it.
    #[serde(with = "hex_text")]
    pub account_id: Vec<u8>,
    /// Unix time, milliseconds.
    pub created_at: i64,
}

/// A sector that was generated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Selectable, Insertable)]
#[diesel(table_name = sectors)]
pub struct SectorRow {
    /// Column.
    pub x: i32,
    /// Row.
    pub y: i32,
    /// When.
    pub generated_at_tick: i64,
}

/// An entity, alive or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Selectable, Insertable)]
#[diesel(table_name = entities)]
pub struct EntityRow {
    /// The entity.
    #[serde(with = "hex_text")]
    pub id: Vec<u8>,
    /// What it is.
    pub kind: i16,
    /// Whose it is.
    #[serde(with = "hex_option")]
    pub owner: Option<Vec<u8>>,
    /// Its sector's column.
    pub sector_x: i32,
    /// Its sector's row.
    pub sector_y: i32,
    /// Of the fence.
    pub epoch: i64,
    /// Of the fence.
    pub version: i64,
    /// Of the fence.
    pub tick: i64,
    /// The encoded record.
    #[serde(with = "hex_text")]
    pub record: Vec<u8>,
    /// Whether it is gone.
    pub deleted: bool,
    /// Unix time, milliseconds.
    pub updated_at: i64,
}

/// Who has how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Selectable, Insertable)]
#[diesel(table_name = balances)]
pub struct BalanceRow {
    /// Kind of the holder.
    pub kind: i16,
    /// The holder.
    #[serde(with = "hex_text")]
    pub id: Vec<u8>,
    /// Where.
    #[serde(with = "hex_text")]
    pub place: Vec<u8>,
    /// Of what.
    pub commodity: i16,
    /// How much.
    pub amount: i64,
}

/// A deal that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Selectable, Insertable)]
#[diesel(table_name = deals)]
pub struct DealRow {
    /// Its key.
    #[serde(with = "hex_text")]
    pub id: Vec<u8>,
    /// Who asked for it.
    #[serde(with = "hex_text")]
    pub account: Vec<u8>,
    /// What was asked for.
    #[serde(with = "hex_text")]
    pub bargain: Vec<u8>,
    /// What was told.
    pub answer: String,
    /// The run of the server.
    #[serde(with = "hex_text")]
    pub run: Vec<u8>,
    /// When.
    pub tick: i64,
    /// Unix time, milliseconds.
    pub created_at: i64,
}

/// A line of a deal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Selectable, Insertable)]
#[diesel(table_name = postings)]
pub struct PostingRow {
    /// The deal.
    #[serde(with = "hex_text")]
    pub deal: Vec<u8>,
    /// Which line.
    pub line: i16,
    /// Kind of the holder.
    pub kind: i16,
    /// The holder.
    #[serde(with = "hex_text")]
    pub id: Vec<u8>,
    /// Where.
    #[serde(with = "hex_text")]
    pub place: Vec<u8>,
    /// Of what.
    pub commodity: i16,
    /// How much.
    pub delta: i64,
}

/// What deals that were removed had moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Selectable, Insertable)]
#[diesel(table_name = carried)]
pub struct CarriedRow {
    /// Kind of the holder.
    pub kind: i16,
    /// The holder; nil for all that other moves change too.
    #[serde(with = "hex_text")]
    pub id: Vec<u8>,
    /// Where.
    #[serde(with = "hex_text")]
    pub place: Vec<u8>,
    /// Of what.
    pub commodity: i16,
    /// How much.
    pub amount: i64,
}

/// Bytes as hexadecimal text, for serde.
mod hex_text {
    use crate::accounts::hex;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        bytes(&String::deserialize(deserializer)?)
    }

    pub(super) fn bytes<E: Error>(text: &str) -> Result<Vec<u8>, E> {
        hex::decode(text).ok_or_else(|| E::custom("hexadecimal digits are expected, two for a byte"))
    }
}

/// Bytes, if there are any, as hexadecimal text, for serde.
mod hex_option {
    use super::hex_text;
    use crate::accounts::hex;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.as_deref().map(hex::encode).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        Option::<String>::deserialize(deserializer)?.map(|text| hex_text::bytes(&text)).transpose()
    }
}
