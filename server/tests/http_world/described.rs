//! Checks answers against `openapi.json`: status, headers and body are those of the document, and nothing more.

use serde_json::Value;

use super::Answer;

const DOCUMENT: &str = include_str!("../../src/http/openapi.json");

/// Checks that the answer is one of those described for that request. Paths outside `/api/` are not described.
#[track_caller]
pub fn check(method: &str, path: &str, answer: &Answer) {
    let document: Value = serde_json::from_str(DOCUMENT).expect("JSON");
    let operation = &document["paths"][path][method];
    if operation.is_null() {
        assert!([404, 405].contains(&answer.status), "{method} {path} is served, but not described: {answer:?}");
        return;
    }
    let described = &operation["responses"][answer.status.to_string()];
    assert!(!described.is_null(), "{method} {path}: {} is not described: {answer:?}", answer.status);
    let described = resolve(&document, described);
    for (name, header) in described["headers"].as_object().into_iter().flatten() {
        let value = answer.header(&name.to_ascii_lowercase());
        let Some(value) = value else { panic!("{method} {path}: no header {name}: {answer:?}") };
        let value = value.parse::<u64>().map_or_else(|_| Value::from(value), Value::from);
        check_value(&document, &header["schema"], &value, name);
    }
    let schema = &described["content"]["application/json"]["schema"];
    if schema.is_null() {
        assert!(answer.body.is_null(), "{method} {path}: no body is described: {answer:?}");
        return;
    }
    assert_eq!(answer.header("content-type"), Some("application/json"), "{method} {path}");
    check_value(&document, schema, &answer.body, path);
}

fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let Some(path) = value["$ref"].as_str() else { return value };
    document.pointer(path.strip_prefix('#').expect("within the document")).expect("what is referred to is there")
}

/// The part of JSON Schema that the document uses; any other keyword is an error, so that none is skipped.
#[track_caller]
fn check_value(document: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = resolve(document, schema).as_object().expect("a schema is an object");
    for (keyword, rule) in schema {
        let holds = match keyword.as_str() {
            "description" => true,
            "const" => rule == value,
            "type" => match rule.as_str().expect("one type") {
                "object" => value.is_object(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "array" => value.is_array(),
                "integer" => value.is_i64() || value.is_u64(),
                other => panic!("type {other} is not known here"),
            },
            "items" => {
                value.as_array().into_iter().flatten().for_each(|item| check_value(document, rule, item, at));
                true
            }
            "minimum" => value.as_i64() >= rule.as_i64(),
            "minLength" => value.as_str().map(|text| text.chars().count() as u64) >= rule.as_u64(),
            "format" if rule == "uuid" => value.as_str().is_some_and(|text| uuid::Uuid::parse_str(text).is_ok()),
            "pattern" if rule == "^[0-9a-f]{64}$" => value.as_str().is_some_and(|text| {
                text.len() == 64 && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
            }),
            "required" => {
                rule.as_array().expect("names").iter().all(|name| value.get(name.as_str().expect("a name")).is_some())
            }
            "additionalProperties" => {
                assert_eq!(*rule, Value::Bool(false));
                value.as_object().into_iter().flatten().all(|(name, _)| schema["properties"].get(name).is_some())
            }
            "properties" => {
                for (name, schema) in rule.as_object().expect("schemas") {
                    if let Some(value) = value.get(name) {
                        check_value(document, schema, value, name);
                    }
                }
                true
            }
            other => panic!("keyword {other} with {rule} is not known here"),
        };
        assert!(holds, "{at}: {keyword} {rule} does not hold for {value}");
    }
}

#[test]
fn an_answer_that_is_not_as_described_is_found() {
    let error = |status, headers: &[(&str, &str)], body: Value| {
        let mut headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        let answer = Answer { status, headers, body };
        std::panic::catch_unwind(|| check("post", "/api/ticket", &answer)).is_err()
    };
    let sentence = || serde_json::json!({ "error": "do this" });
    assert!(!error(401, &[("www-authenticate", "Bearer")], sentence()));
    assert!(!error(429, &[("retry-after", "1")], sentence()));
    assert!(error(401, &[], sentence()), "a header is missing");
    assert!(error(429, &[("retry-after", "0")], sentence()), "a header is out of range");
    assert!(error(401, &[("www-authenticate", "Basic")], sentence()), "a header has another value");
    assert!(error(418, &[], sentence()), "a status is not described");
    assert!(error(503, &[], serde_json::json!({ "error": "do this", "trace": "main.rs" })), "a field is not described");
    assert!(error(503, &[], serde_json::json!({})), "a field is missing");
    assert!(error(503, &[], serde_json::json!({ "error": 7 })), "a field has another type");
    assert!(error(200, &[], serde_json::json!({ "ticket": "abc" })), "a ticket is malformed");
}
