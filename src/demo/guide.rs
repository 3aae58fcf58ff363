//! What the demo prints for the person at the terminal: where to look, with what to log in, what to try.

use serde_json::json;

/// What the guide names.
pub struct Guide<'a> {
    /// Without a slash at the end.
    pub base_url: &'a str,
    pub graphiql: bool,
    pub tenant: &'a str,
    pub email: &'a str,
    /// None when another start, elsewhere, has made it.
    pub password: Option<&'a str>,
    pub token: &'a str,
    pub click_id: &'a str,
    /// Names the example's order: the day, so that it is new on another day.
    pub example: &'a str,
}

const SUBSCRIPTION: &str = "subscription { conversions { type conversion { orderId status campaign { name } affiliate { name } saleAmount { amount currency } commissionTotal { amount currency } } } }";

impl Guide<'_> {
    /// The whole block.
    pub fn text(&self) -> String {
        let Self { base_url, tenant, email, token, .. } = self;
        let graphiql = if self.graphiql {
            format!("GraphiQL      {base_url}/graphql")
        } else {
            format!("API           {base_url}/graphql (GraphiQL is off in production mode)")
        };
        let password = self.password.unwrap_or("(kept in the data folder of the first start)");
        let curl = self.curl();
        let socket = self.node();
        format!(
            "\
{graphiql}
              In its headers pane, for queries and subscriptions:
              {{\"Authorization\": \"Bearer {token}\"}}
Log-in        tenant {tenant}, e-mail {email}, password {password}
Token         of the owner, for 12 hours: the one above; `tributary token --tenant {tenant} --role owner` makes others

Watch (paste into GraphiQL; or run the second line: Node.js 22, or 20.10 with --experimental-websocket):

{SUBSCRIPTION}

{socket}

Record a conversion (run it twice: the second answers \"replayed\":true):

{curl}
"
        )
    }

    fn curl(&self) -> String {
        let Self { base_url, token, click_id, example, .. } = self;
        let document = format!(
            "mutation {{ recordConversion(input: {{ idempotencyKey: \"example-{example}\", clickId: \"{click_id}\", \
             goal: \"sale\", orderId: \"example-{example}\", saleAmount: {{ amount: \"49.00\", currency: USD }} }}) {{ \
             replayed conversion {{ id status attribution {{ model touches {{ affiliate {{ name }} share }} }} \
             commissions {{ amount {{ amount currency }} explanation {{ summary }} }} }} \
             userErrors {{ code field message }} }} }}"
        );
        format!(
            "curl -s {base_url}/graphql -H 'Content-Type: application/json' \\\n  -H 'Authorization: Bearer {token}' \\\n  -d '{}'",
            json!({ "query": document })
        )
    }

    /// The protocol is simple enough for one line.
    fn node(&self) -> String {
        let socket = self.base_url.replacen("http", "ws", 1);
        let init = json!({ "type": "connection_init", "payload": { "token": self.token } });
        let subscribe = json!({ "id": "1", "type": "subscribe", "payload": { "query": SUBSCRIPTION } });
        format!(
            "node -e 's = new WebSocket(\"{socket}/graphql\", \"graphql-transport-ws\"); \
             s.onopen = () => [{init}, {subscribe}].map(m => s.send(JSON.stringify(m))); \
             s.onmessage = m => console.log(m.data)'"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_survive_a_shell() {
        let guide = Guide {
            base_url: "http://127.0.0.1:8080",
            graphiql: true,
            tenant: "demo",
            email: "owner@demo.test",
            password: Some("secret"),
            token: "t.o.k",
            click_id: "clk_1",
            example: "2026-01-02",
        };
        // Single quotes hold everything but a single quote.
        assert_eq!(guide.curl().matches('\'').count(), 6);
        assert_eq!(guide.node().matches('\'').count(), 2);
        assert!(guide.node().contains("ws://127.0.0.1:8080/graphql"));
        let text = guide.text();
        assert!(text.contains("{\"Authorization\": \"Bearer t.o.k\"}") && text.contains("password secret"));
    }
}
