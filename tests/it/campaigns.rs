//! What tenants manage: campaigns and goals, affiliates, enrollments, links; each with its states and its keys.

use serde_json::{Value, json};

use crate::support::{
    Client, Programme, Terms, on_both,
    programme::{enroll, id, merge, new_affiliate},
};

/// Moves an object through states; each step names what is expected of it.
async fn steps(client: &Client, id: &str, payload: &str, steps: &[(&str, Result<&str, &str>)]) {
    for (name, expected) in steps {
        let input = json!({ "id": id });
        match expected {
            Ok(status) => {
                let answer = client.done(name, input, &format!("{payload} {{ status }}")).await;
                assert_eq!(answer[payload]["status"], *status, "{name}");
            }
            Err(code) => assert_eq!(client.refusal(name, input).await, *code, "{name}"),
        }
    }
}

fn campaign(more: Value) -> Value {
    let mut input = json!({ "name": "Shoes", "currency": "EUR", "destinationUrl": "https://shop.example/" });
    merge(&mut input, more);
    input
}

on_both! {
    async fn campaign_is_created_changed_and_read_back(app) {
        let owner = app.owner();
        let selection = "campaign { id name status currency destinationUrl approval holdSeconds attributionWindowSeconds \
            attributionModel isPublic }";
        let made = owner.done("createCampaign", campaign(json!({})), selection).await;
        let mut expected = json!({
            "id": made["campaign"]["id"], "name": "Shoes", "status": "DRAFT", "currency": "EUR",
            "destinationUrl": "https://shop.example/", "approval": "MANUAL", "holdSeconds": 2_592_000,
            "attributionWindowSeconds": 2_592_000, "attributionModel": "LAST_CLICK", "isPublic": false,
        });
        assert_eq!(made["campaign"], expected);
        let change = json!({ "name": "Boots", "approval": "AUTO", "holdSeconds": 0, "isPublic": true });
        let mut input = change.clone();
        merge(&mut input, json!({ "id": made["campaign"]["id"] }));
        merge(&mut expected, change);
        assert_eq!(owner.done("updateCampaign", input, selection).await["campaign"], expected);
        let read = owner.data(&format!("query($id: ID!) {{ {} }}", selection.replacen("campaign", "campaign(id: $id)", 1)),
            json!({ "id": made["campaign"]["id"] })).await;
        assert_eq!(read["campaign"], expected);
    }

    async fn campaign_moves_between_its_states_and_archived_is_final(app) {
        let owner = app.owner();
        let id = id(&owner.done("createCampaign", campaign(json!({})), "campaign { id }").await, "campaign");
        steps(&owner, &id, "campaign", &[
            ("pauseCampaign", Err("INVALID_TRANSITION")),
            ("activateCampaign", Ok("ACTIVE")),
            ("activateCampaign", Err("INVALID_TRANSITION")),
            ("pauseCampaign", Ok("PAUSED")),
            ("activateCampaign", Ok("ACTIVE")),
            ("archiveCampaign", Ok("ARCHIVED")),
            ("activateCampaign", Err("INVALID_TRANSITION")),
            ("pauseCampaign", Err("INVALID_TRANSITION")),
            ("archiveCampaign", Err("INVALID_TRANSITION")),
        ]).await;
        let affiliate = new_affiliate(&owner).await;
        let pair = json!({ "campaignId": id, "affiliateId": affiliate });
        for (name, input) in [
            ("createEnrollment", pair.clone()),
            ("createLink", pair),
            ("createGoal", json!({ "campaignId": id, "code": "x", "name": "x" })),
            ("createCommissionRule", json!({ "campaignId": id, "name": "x", "terms": { "percent": "1" } })),
        ] {
            assert_eq!(owner.refusal(name, input).await, "INVALID_TRANSITION", "{name}");
        }
    }

    async fn keys_of_mutations_are_replayed_or_conflict(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        for (name, payload, input, change) in [
            ("createCampaign", "campaign", campaign(json!({})), json!({ "name": "Boots" })),
            ("updateCampaign", "campaign", json!({ "id": programme.campaign, "name": "a" }), json!({ "name": "b" })),
            ("createGoal", "goal", json!({ "campaignId": programme.campaign, "code": "lead", "name": "L" }), json!({ "code": "x" })),
            ("createAffiliate", "affiliate", json!({ "name": "Ada", "email": "ada@x.example" }), json!({ "name": "Bob" })),
            ("createLink", "link", json!({ "campaignId": programme.campaign, "affiliateId": programme.affiliate }),
                json!({ "label": "x" })),
            ("pauseCampaign", "campaign", json!({ "id": programme.campaign }), json!({ "id": programme.affiliate.replace("aff_", "cmp_") })),
        ] {
            let mut input = input;
            merge(&mut input, json!({ "idempotencyKey": name }));
            let selection = format!("replayed {payload} {{ id }}");
            let first = owner.done(name, input.clone(), &selection).await;
            let again = owner.done(name, input.clone(), &selection).await;
            assert_eq!((&first["replayed"], &again["replayed"]), (&json!(false), &json!(true)), "{name}");
            assert_eq!(first[payload], again[payload], "{name}");
            merge(&mut input, change);
            assert_eq!(owner.refusal(name, input).await, "IDEMPOTENCY_CONFLICT", "{name}");
        }
    }

    async fn refused_mutation_does_not_use_up_its_key(app) {
        let owner = app.owner();
        let input = |url: &str| campaign(json!({ "destinationUrl": url, "idempotencyKey": "k" }));
        assert_eq!(owner.refusal("createCampaign", input("nonsense")).await, "INVALID_URL");
        let programme = Programme::build(&owner, &Terms::default()).await;
        let goal = |code: &str| json!({ "campaignId": programme.campaign, "code": code, "name": "x", "idempotencyKey": "g" });
        assert_eq!(owner.refusal("createGoal", goal("sale")).await, "ALREADY_EXISTS");
        for (name, input) in [("createCampaign", input("https://shop.example/")), ("createGoal", goal("lead"))] {
            assert_eq!(owner.done(name, input, "replayed").await["replayed"], false, "{name}");
        }
    }

    async fn goal_s_code_is_unique_in_its_campaign_for_ever(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let other = Programme::build(&owner, &Terms::default()).await;
        let goal = json!({ "campaignId": programme.campaign, "code": "sale", "name": "Again" });
        assert_eq!(owner.refusal("createGoal", goal.clone()).await, "ALREADY_EXISTS");
        steps(&owner, &programme.goal, "goal", &[
            ("archiveGoal", Ok("ARCHIVED")),
            ("archiveGoal", Err("INVALID_TRANSITION")),
        ]).await;
        assert_eq!(owner.refusal("createGoal", goal).await, "ALREADY_EXISTS");
        let lead = json!({ "campaignId": other.campaign, "code": "lead", "name": "Lead" });
        let made = owner.done("createGoal", lead, "goal { id code oncePerClick }").await;
        let update = json!({ "id": made["goal"]["id"], "name": "New", "oncePerClick": true });
        let updated = owner.done("updateGoal", update, "goal { code name oncePerClick }").await;
        assert_eq!(updated["goal"], json!({ "code": "lead", "name": "New", "oncePerClick": true }));
    }

    async fn affiliate_moves_between_its_states(app) {
        let owner = app.owner();
        let application = json!({ "tenant": "home", "name": "Ada", "email": "ada@x.example", "password": "long enough 1" });
        let id = id(&app.anonymous().done("applyAffiliate", application, "affiliate { id }").await, "affiliate");
        steps(&owner, &id, "affiliate", &[
            ("suspendAffiliate", Err("INVALID_TRANSITION")),
            ("rejectAffiliate", Ok("REJECTED")),
            ("rejectAffiliate", Err("INVALID_TRANSITION")),
            ("approveAffiliate", Ok("ACTIVE")),
            ("rejectAffiliate", Err("INVALID_TRANSITION")),
            ("suspendAffiliate", Ok("SUSPENDED")),
            ("approveAffiliate", Ok("ACTIVE")),
        ]).await;
    }

    async fn affiliate_s_address_is_unique_in_any_case(app) {
        let owner = app.owner();
        let affiliate = |email: &str| json!({ "name": "Ada", "email": email, "company": "Ada Ltd" });
        let made = owner.done("createAffiliate", affiliate("Ada@X.example"), "affiliate { id email company }").await;
        assert_eq!(made["affiliate"]["email"], "ada@x.example");
        assert_eq!(owner.refusal("createAffiliate", affiliate("ada@x.example")).await, "ALREADY_EXISTS");
        app.stranger().done("createAffiliate", affiliate("ada@x.example"), "").await;
        let bob = id(&owner.done("createAffiliate", affiliate("bob@x.example"), "affiliate { id }").await, "affiliate");
        assert_eq!(owner.refusal("updateAffiliate", json!({ "id": bob, "email": "ADA@x.example" })).await, "ALREADY_EXISTS");
        let update = json!({ "id": bob, "company": null });
        let updated = owner.done("updateAffiliate", update, "affiliate { name email company }").await;
        assert_eq!(updated["affiliate"], json!({ "name": "Ada", "email": "bob@x.example", "company": null }));
    }

    async fn enrollment_is_one_per_pair_and_moves_between_its_states(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let pair = json!({ "campaignId": programme.campaign, "affiliateId": programme.affiliate });
        assert_eq!(owner.refusal("createEnrollment", pair).await, "ALREADY_EXISTS");
        let own = app.affiliate(&programme.affiliate);
        let apply = json!({ "campaignId": programme.campaign });
        assert_eq!(own.refusal("applyToCampaign", apply.clone()).await, "ALREADY_EXISTS");
        steps(&owner, &programme.enrollment, "enrollment", &[
            ("approveEnrollment", Err("INVALID_TRANSITION")),
            ("rejectEnrollment", Err("INVALID_TRANSITION")),
            ("suspendEnrollment", Ok("SUSPENDED")),
            ("approveEnrollment", Ok("APPROVED")),
        ]).await;
        let other = new_affiliate(&owner).await;
        assert_eq!(app.affiliate(&other).refusal("applyToCampaign", apply.clone()).await, "NOT_FOUND", "it is not public");
        owner.done("updateCampaign", json!({ "id": programme.campaign, "isPublic": true }), "").await;
        let applied = app.affiliate(&other).done("applyToCampaign", apply, "enrollment { id status }").await;
        assert_eq!(applied["enrollment"]["status"], "PENDING");
        let link = json!({ "campaignId": programme.campaign });
        assert_eq!(app.affiliate(&other).refusal("createLink", link.clone()).await, "INVALID_TRANSITION");
        steps(&owner, &id(&applied, "enrollment"), "enrollment", &[
            ("rejectEnrollment", Ok("REJECTED")),
            ("approveEnrollment", Ok("APPROVED")),
        ]).await;
        app.affiliate(&other).done("createLink", link, "").await;
    }

    async fn link_is_created_changed_disabled_and_enabled(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let input = json!({
            "campaignId": programme.campaign, "affiliateId": programme.affiliate, "label": " spring ",
            "destinationUrl": "https://shop.example/p?c={click_id}&s={sub1}",
        });
        let made = owner.done("createLink", input, "link { id code label destinationUrl status affiliate { id } }").await;
        let link = &made["link"];
        assert_eq!((&link["label"], &link["affiliate"]["id"]), (&json!("spring"), &json!(programme.affiliate)));
        assert_eq!(link["code"].as_str().map(str::len), Some(10));
        let id = id(&made, "link");
        let update = json!({ "id": id, "destinationUrl": null });
        let updated = owner.done("updateLink", update, "link { label destinationUrl }").await;
        assert_eq!(updated["link"], json!({ "label": "spring", "destinationUrl": null }));
        steps(&owner, &id, "link", &[
            ("enableLink", Err("INVALID_TRANSITION")),
            ("disableLink", Ok("DISABLED")),
            ("disableLink", Err("INVALID_TRANSITION")),
            ("enableLink", Ok("ACTIVE")),
        ]).await;
    }

    async fn affiliate_makes_links_for_itself_only(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let other = new_affiliate(&owner).await;
        enroll(&owner, &programme.campaign, &other).await;
        let own = app.affiliate(&programme.affiliate);
        let mut input = json!({ "campaignId": programme.campaign });
        assert_eq!(owner.refusal("createLink", input.clone()).await, "REQUIRED", "staff name an affiliate");
        let made = own.done("createLink", input.clone(), "link { affiliate { id } }").await;
        assert_eq!(made["link"]["affiliate"]["id"], programme.affiliate);
        merge(&mut input, json!({ "affiliateId": other }));
        assert_eq!(own.refusal("createLink", input).await, "NOT_FOUND");
    }

    async fn objects_of_another_tenant_cannot_be_changed(app) {
        let programme = Programme::build(&app.owner(), &Terms::default()).await;
        let stranger = app.stranger();
        for (name, id) in [
            ("pauseCampaign", &programme.campaign), ("updateCampaign", &programme.campaign), ("archiveGoal", &programme.goal),
            ("updateGoal", &programme.goal), ("suspendAffiliate", &programme.affiliate),
            ("updateAffiliate", &programme.affiliate), ("suspendEnrollment", &programme.enrollment),
            ("updateEnrollment", &programme.enrollment), ("disableLink", &programme.link), ("updateLink", &programme.link),
        ] {
            assert_eq!(stranger.refusal(name, json!({ "id": id })).await, "NOT_FOUND", "{name}");
        }
    }
}
