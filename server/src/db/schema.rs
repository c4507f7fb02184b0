//! The tables as Diesel sees them: one description for every backend. `migrations/<backend>/` makes them.

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
