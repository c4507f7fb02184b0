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
