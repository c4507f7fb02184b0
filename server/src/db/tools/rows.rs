//! The rows of a dump, one struct for each table, in the order in which they can be imported.

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
    /// The ship to which its player returns.
    #[serde(with = "hex_option")]
    pub ship_id: Option<Vec<u8>>,
    /// Unix time, milliseconds.
    pub created_at: i64,
}

/// An account's identity at another token issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Selectable, Insertable)]
#[diesel(table_name = identities)]
pub struct IdentityRow {
    /// The tokens' issuer.
    pub issuer: String,
    /// The tokens' subject.
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
    /// The account that was registered with it.
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
    /// The tick of its generation.
    pub generated_at_tick: i64,
}

/// An entity, alive or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Selectable, Insertable)]
#[diesel(table_name = entities)]
pub struct EntityRow {
    /// The entity.
    #[serde(with = "hex_text")]
    pub id: Vec<u8>,
    /// Its kind.
    pub kind: i16,
    /// Its owner.
    #[serde(with = "hex_option")]
    pub owner: Option<Vec<u8>>,
    /// Its sector's column.
    pub sector_x: i32,
    /// Its sector's row.
    pub sector_y: i32,
    /// The fence's epoch.
    pub epoch: i64,
    /// The fence's version.
    pub version: i64,
    /// The fence's tick.
    pub tick: i64,
    /// The encoded record.
    #[serde(with = "hex_text")]
    pub record: Vec<u8>,
    /// Whether it is gone.
    pub deleted: bool,
    /// Unix time, milliseconds.
    pub updated_at: i64,
}

/// A holder's amount of a commodity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Selectable, Insertable)]
#[diesel(table_name = balances)]
pub struct BalanceRow {
    /// Kind of the holder.
    pub kind: i16,
    /// The holder.
    #[serde(with = "hex_text")]
    pub id: Vec<u8>,
    /// The station of a vault.
    #[serde(with = "hex_text")]
    pub place: Vec<u8>,
    /// The commodity.
    pub commodity: i16,
    /// The amount.
    pub amount: i64,
}

/// A completed deal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Selectable, Insertable)]
#[diesel(table_name = deals)]
pub struct DealRow {
    /// Its key.
    #[serde(with = "hex_text")]
    pub id: Vec<u8>,
    /// The account that requested it.
    #[serde(with = "hex_text")]
    pub account: Vec<u8>,
    /// The encoded request.
    #[serde(with = "hex_text")]
    pub bargain: Vec<u8>,
    /// The answer to the player.
    pub answer: String,
    /// The run of the server.
    #[serde(with = "hex_text")]
    pub run: Vec<u8>,
    /// The world's tick.
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
    /// The number of the line.
    pub line: i16,
    /// Kind of the holder.
    pub kind: i16,
    /// The holder.
    #[serde(with = "hex_text")]
    pub id: Vec<u8>,
    /// The station of a vault.
    #[serde(with = "hex_text")]
    pub place: Vec<u8>,
    /// The commodity.
    pub commodity: i16,
    /// The change.
    pub delta: i64,
}

/// The sums of removed deals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Queryable, Selectable, Insertable)]
#[diesel(table_name = carried)]
pub struct CarriedRow {
    /// Kind of the holder.
    pub kind: i16,
    /// The holder; nil for all that other moves change too.
    #[serde(with = "hex_text")]
    pub id: Vec<u8>,
    /// The station of a vault.
    #[serde(with = "hex_text")]
    pub place: Vec<u8>,
    /// The commodity.
    pub commodity: i16,
    /// The sum of the changes.
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

/// Optional bytes as hexadecimal text, for serde.
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
