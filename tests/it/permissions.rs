//! Who may do what: every root field of the schema, called by every role and by keys of every scope, compared with
//! `permissions.golden`. A change of the table, or a field without a guard, shows there as a changed line.
//!
//! `UPDATE_GOLDEN=1` writes the file anew; read the difference before it is committed.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Value, json};
use tributary_entity::kinds::{ApiKeyScope, Role};

use crate::{
    isolation::walk,
    support::{
        Client, Sdl, TestApp,
        app::PASSWORD,
        on_both_tuned,
        samples::{fresh, samples},
        sdl::Field,
        surface::World,
    },
};

/// What needs no credential: it gives one, or asks to be let in.
const OPEN: &[&str] = &["Mutation.applyAffiliate", "Mutation.login", "Mutation.logout", "Mutation.refreshSession"];
/// A cursor that is none: a subscription that may be opened is refused for it, instead of staying silent.
const NO_CURSOR: &str = "none";

on_both_tuned! { crate::isolation::without_limits =>
    async fn every_role_may_do_what_the_golden_file_says(app) {
        let matrix = matrix(app).await;
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/permissions.golden");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &matrix).expect("the golden file is written");
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        let changed: Vec<String> = matrix
            .lines()
            .filter(|line| !golden.lines().any(|known| known == *line))
            .map(|line| format!("  now  {line}"))
            .chain(
                golden.lines().filter(|line| !matrix.lines().any(|now| now == *line)).map(|line| format!("  was  {line}")),
            )
            .collect();
        assert!(
            matrix == golden,
            "tests/it/permissions.golden is not what the API does; if that is meant, UPDATE_GOLDEN=1 renews it:\n{}",
            changed.join("\n")
        );
    }

    async fn nobody_does_anything_without_a_credential(app) {
        let world = World::seed(app, &app.owner()).await;
        let sdl = Sdl::of_this_build();
        let anonymous = app.anonymous();
        for (name, field, sample) in calls(&sdl, &world) {
            let verdict = verdict(&sdl, &anonymous, name.split('.').next().expect("a root"), &field, &sample).await;
            let open = OPEN.contains(&name.as_str());
            assert_eq!(verdict, if open { Verdict::Allowed } else { Verdict::Unauthenticated }, "{name}");
        }
        let schema = "{ __typename __schema { queryType { name } } __type(name: \"ID\") { name } }";
        if app.settings.is_production() {
            assert_eq!(anonymous.error_code(schema, json!({})).await, "INTROSPECTION_DISABLED");
        } else {
            assert_eq!(anonymous.data(schema, json!({})).await["__schema"]["queryType"]["name"], "Query");
        }
        assert_eq!(anonymous.data("{ __typename }", json!({})).await["__typename"], "Query");
    }

    async fn credential_that_is_none_opens_nothing(app) {
        let good = app.owner().token.expect("a token");
        let (head, signature) = good.rsplit_once('.').expect("a token in parts");
        let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
        let expired = app.token(app.home, Role::Owner, None, -60);
        for (token, expected) in [
            ("nonsense", "UNAUTHENTICATED"),
            ("trb_live_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaa", "UNAUTHENTICATED"),
            (head, "UNAUTHENTICATED"),
            (&forged, "UNAUTHENTICATED"),
            (&expired, "TOKEN_EXPIRED"),
        ] {
            let client = Client::new(&app.url, Some(token.to_owned()));
            // Not even what needs no credential: whoever sends one means it.
            for query in ["{ viewer { roles } }", "{ __typename }"] {
                let (status, body) = client.send(query, json!({})).await;
                assert_eq!(status, 401, "{token}: {body}");
                assert_eq!(body["errors"][0]["extensions"]["code"], expected, "{token}");
                assert!(body.get("data").is_none(), "{body}");
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Forbidden,
    Unauthenticated,
}

/// Every root field with each of its samples; several samples of one field are told apart by their number.
fn calls(sdl: &Sdl, world: &World) -> Vec<(String, Field, Value)> {
    let samples = samples(world);
    let mut calls = Vec::new();
    for root in ["Query", "Mutation", "Subscription"] {
        for field in sdl.fields(root) {
            let name = format!("{root}.{}", field.name);
            let given = samples.get(name.as_str()).unwrap_or_else(|| panic!("add a sample call of {name}"));
            calls.extend(given.iter().map(|sample| (name.clone(), field.clone(), sample.clone())));
        }
    }
    calls
}

/// Whether a call gets past the guards. What becomes of it behind them does not matter here.
async fn verdict(sdl: &Sdl, client: &Client, root: &str, field: &Field, sample: &Value) -> Verdict {
    let mut args = fresh(sample);
    if root == "Subscription" {
        args["after"] = NO_CURSOR.into();
    }
    let selection = if sdl.is_leaf(field.named()) { "" } else { "__typename" };
    let document = sdl.document(root, field, &args, selection);
    let errors = if root == "Subscription" {
        let mut message = client.subscribe(&document, args).await.message().await;
        let key = if message["type"] == "error" { "/payload" } else { "/payload/errors" };
        message.pointer_mut(key).map(Value::take).unwrap_or_default()
    } else {
        client.send(&document, args).await.1["errors"].take()
    };
    let code = |error: &Value| error["extensions"]["code"].as_str().unwrap_or_default().to_owned();
    let codes: Vec<String> = errors.as_array().into_iter().flatten().map(code).collect();
    match codes.first().map(String::as_str) {
        Some("FORBIDDEN") => Verdict::Forbidden,
        Some("UNAUTHENTICATED") => Verdict::Unauthenticated,
        // The cursor is none, and the ids name nothing: behind the guard, either may be found first.
        Some("CURSOR_INVALID" | "NOT_FOUND") if root == "Subscription" => Verdict::Allowed,
        None | Some("RATE_LIMITED") => Verdict::Allowed,
        Some(_) => panic!("{root}.{}: a sample that is not in order: {errors}", field.name),
    }
}

/// Everybody who may call: each role, and a key of each scope.
async fn callers(app: &TestApp, world: &World) -> Vec<(String, Client)> {
    let mut callers = Vec::new();
    for role in Role::ALL {
        let client = match role {
            // Not a person's: the widest that a key can be.
            Role::Integration => app.role(*role),
            _ => person(app, *role, world).await,
        };
        callers.push((role.to_string(), client));
    }
    for scope in ApiKeyScope::ALL {
        let input = json!({ "name": scope.to_string(), "scopes": [scope.to_string()] });
        let mut payload = app.owner().done("createApiKey", input, "secret").await;
        let key = payload["secret"].take().as_str().expect("a key").to_owned();
        callers.push((format!("key:{scope}"), Client::new(&app.url, Some(key))));
    }
    callers
}

/// A user with a role, logged in.
async fn person(app: &TestApp, role: Role, world: &World) -> Client {
    let email = format!("{role}@people.example").to_lowercase();
    let affiliate = (role == Role::Affiliate).then(|| world.ids["aff"].clone());
    let user = json!({
        "email": email, "name": "Cat", "password": PASSWORD, "roles": [role.to_string()], "affiliateId": affiliate,
    });
    app.owner().done("createUser", user, "").await;
    let login = json!({ "tenant": "home", "email": email, "password": PASSWORD });
    let payload = app.anonymous().done("login", login, "accessToken").await;
    Client::new(&app.url, payload["accessToken"].as_str().map(str::to_owned))
}

/// The matrix as text, a line per call: who may, of all callers.
async fn matrix(app: &TestApp) -> String {
    let owner = app.owner();
    let world = World::seed(app, &owner).await;
    let sdl = Sdl::of_this_build();
    let callers = callers(app, &world).await;
    // Ids that name nothing: a call that is allowed does as little as can be.
    let nothing = world.of_nothing();
    let mut lines = BTreeMap::new();
    for (name, field, sample) in calls(&sdl, &nothing) {
        let mut allowed = Vec::new();
        for (caller, client) in &callers {
            let root = name.split('.').next().expect("a root");
            match verdict(&sdl, client, root, &field, &sample).await {
                Verdict::Allowed => allowed.push(caller.as_str()),
                Verdict::Forbidden => {}
                Verdict::Unauthenticated => panic!("{name}: {caller} is not known"),
            }
        }
        let everybody = if allowed.len() == callers.len() { "everybody".to_owned() } else { allowed.join(" ") };
        let anybody =
            if OPEN.contains(&name.as_str()) { "anybody, also without a credential".to_owned() } else { everybody };
        // `node` asks for another permission by the kind of object.
        let kind = sample["id"].as_str().or(sample["ids"][0].as_str()).filter(|_| name.starts_with("Query.node"));
        let kind = kind.and_then(|id| id.split('_').next()).map_or(String::new(), |kind| format!("({kind})"));
        lines.insert(format!("{name}{kind}"), anybody);
    }
    let head =
        "# Who may call what; written by `UPDATE_GOLDEN=1 tests/with-servers cargo test --test it permissions::`.\n";
    let mut text = lines.iter().fold(head.to_owned(), |text, (name, allowed)| {
        let allowed = if allowed.is_empty() { "nobody" } else { allowed };
        text + name + ": " + allowed + "\n"
    });
    text += "\n# Fields below the roots that are closed to some who get that far.\n";
    let mut closed: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (caller, client) in &callers {
        for field in walk::everything(&sdl, client, &world).await.closed {
            closed.entry(field.replacen('_', ".", 1)).or_default().push(caller);
        }
    }
    closed.iter().fold(text, |text, (field, callers)| text + field + ": not " + &callers.join(" ") + "\n")
}
