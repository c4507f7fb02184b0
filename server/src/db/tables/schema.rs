//! The tables for Diesel: one description for both backends. `migrations/<backend>/` creates them.

diesel::table! {
    entities (id) {
        id -> Binary,
        kind -> SmallInt,
        owner -> Nullable<Binary>,
        sector_x -> Integer,
        sector_y -> Integer,
        epoch -> BigInt,
        version -> BigInt,
        tick -> BigInt,
        record -> Binary,
        deleted -> Bool,
        updated_at -> BigInt,
    }
}

diesel::table! {
    sectors (x, y) {
        x -> Integer,
        y -> Integer,
        generated_at_tick -> BigInt,
    }
}

diesel::table! {
    accounts (id) {
        id -> Binary,
        name -> Text,
        password_hash -> Text,
        ship_id -> Nullable<Binary>,
        created_at -> BigInt,
    }
}

diesel::table! {
    meta (key) {
        key -> Text,
        value -> Text,
    }
}

diesel::table! {
    sessions (id) {
        id -> Binary,
        account_id -> Binary,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    session_tokens (token_hash) {
        token_hash -> Binary,
        session_id -> Binary,
        issued_at -> BigInt,
        rotated_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    registrations (idempotency_key) {
        idempotency_key -> Text,
        account_id -> Binary,
        created_at -> BigInt,
    }
}

diesel::table! {
    identities (issuer, subject) {
        issuer -> Text,
        subject -> Binary,
        account_id -> Binary,
        created_at -> BigInt,
    }
}

diesel::table! {
    balances (kind, id, place, commodity) {
        kind -> SmallInt,
        id -> Binary,
        place -> Binary,
        commodity -> SmallInt,
        amount -> BigInt,
    }
}

diesel::table! {
    deals (id) {
        id -> Binary,
        account -> Binary,
        bargain -> Binary,
        answer -> Text,
        run -> Binary,
        tick -> BigInt,
        created_at -> BigInt,
    }
}

diesel::table! {
    postings (deal, line) {
        deal -> Binary,
        line -> SmallInt,
        kind -> SmallInt,
        id -> Binary,
        place -> Binary,
        commodity -> SmallInt,
        delta -> BigInt,
    }
}

diesel::table! {
    carried (kind, id, place, commodity) {
        kind -> SmallInt,
        id -> Binary,
        place -> Binary,
        commodity -> SmallInt,
        amount -> BigInt,
    }
}

diesel::allow_tables_to_appear_in_same_query!(accounts, sessions, session_tokens, registrations, identities);
diesel::allow_tables_to_appear_in_same_query!(entities, balances);
