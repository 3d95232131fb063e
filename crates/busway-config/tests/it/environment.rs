//! Variables over a file.

use busway_config::{Config, ConfigError, Format};

const FILE: &str = "routes:\n  Stock-A:\n    filter: a.b\n    handler: h\n    limits: { concurrency: 2 }\nmiddleware:\n  user:\n  - kind: timeout\n    with: { limit: 1s }\n";

fn with(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse_with("busway.yaml", FILE, Format::Yaml, variables)
}

#[test]
fn a_variable_wins_over_the_file_and_says_that_it_was_it() {
    let config = with(&[("BUSWAY__ROUTES__STOCK_A__LIMITS__CONCURRENCY", "8"), ("PATH", "/bin")]).unwrap();
    let route = config.routes.get("Stock-A").unwrap();
    let concurrency = route.limits.as_ref().unwrap().concurrency.as_ref().unwrap();
    assert_eq!(concurrency.number(), 8);
    let place = concurrency.place();
    assert_eq!(place.file(), "environment variable BUSWAY__ROUTES__STOCK_A__LIMITS__CONCURRENCY");
    assert_eq!(route.filter.place().file(), "busway.yaml");
}

#[test]
fn a_variable_reaches_into_lists_and_makes_what_is_not_there() {
    let config = with(&[
        ("BUSWAY__MIDDLEWARE__USER__0__WITH__LIMIT", "250ms"),
        ("BUSWAY__MIDDLEWARE__USER__1__KIND", "log_outcome"),
        ("BUSWAY__ROUTES__NEW__FILTER", "c.#"),
        ("BUSWAY__ROUTES__NEW__HANDLER", "h"),
        ("BUSWAY__ROUTES__NEW__RETRY", "{attempts: 3, delays: [1s, 2s]}"),
        ("BUSWAY__BUS__PRODUCER", "5"),
    ])
    .unwrap();
    assert_eq!(config.middleware.as_ref().unwrap().user.len(), 2);
    assert_eq!(config.routes.get("new").unwrap().retry.as_ref().unwrap().delays.len(), 2);
    // A text where a text is wanted.
    assert_eq!(config.bus.unwrap().producer.unwrap().as_str(), "5");
}

#[test]
fn what_is_wrong_with_a_variable_names_it() {
    let error = with(&[
        ("BUSWAY__ROUTES__STOCK_A__LIMITS__CONCURRENCY", "many"),
        ("BUSWAY__ROUTES__STOCK_A__FILTER__X", "1"),
        ("BUSWAY__MIDDLEWARE__USER__7__KIND", "timeout"),
        ("BUSWAY__", "1"),
        ("BUSWAY__RUOTES", "{"),
    ])
    .unwrap_err();
    let shown = error.to_string();
    for expected in [
        "environment variable BUSWAY__ROUTES__STOCK_A__LIMITS__CONCURRENCY:1:1: it has to be a whole number from 1 to 65536",
        "1 | many",
        "there is no \"X\" in it: what is to be set is a text",
        "\"7\" is no number from 0 to 1",
        "its name has to be names with two underscores",
        "environment variable BUSWAY__RUOTES:1:",
    ] {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
}

#[test]
fn a_name_that_could_be_two_is_not_guessed() {
    let text = "routes:\n  a-b: { filter: x, handler: h }\n  a_b: { filter: x, handler: h }\n";
    let variable = |name: &str| [(name.to_owned(), "y".to_owned())];
    let error = Config::parse_with("f.yaml", text, Format::Yaml, variable("BUSWAY__ROUTES__A_B__FILTER"));
    assert!(error.unwrap_err().to_string().contains("it could mean \"a-b\" or \"a_b\""));
    let exact = Config::parse_with("f.yaml", text, Format::Yaml, variable("BUSWAY__ROUTES__a_b__FILTER"));
    assert_eq!(exact.unwrap().routes.get("a_b").unwrap().filter.as_str(), "y");
}
