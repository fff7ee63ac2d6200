//! What a person must do before a lead can go on.

use machine::context::Consent;
use machine::explain::Shown;
use machine::outcome::Outcome;
use machine::sequence::Channel;
use machine::signal::{CallResult, Decision, Refusal};
use machine::state::Why;
use tests::scenarios;
use tests::world::{days, hours, lead, sequence};

scenarios! {
    /// A missing value holds the lead and is named; supplied, the message leaves.
    async fn a_missing_value_holds_the_lead_and_is_named(world: World) {
        world.given(sequence().email_saying("intro", "Dear {{ first_name }},\n\nhello.").wait(days(1)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.is(Shown::Held).await;
        assert!(ada.plan().await.headline.contains("`first_name` is missing"));
        world.after(days(5)).await;
        ada.received(&[]).await;
        ada.has("first_name", "Adele").await;
        ada.received(&["intro"]).await;
        world.after(days(5)).await;
        ada.ended(Outcome::Completed).await;
    }

    /// Text messages need consent that was granted.
    async fn a_text_message_waits_for_consent(world: World) {
        world.given(sequence().email("intro").wait(days(1)).sms("text")).await;
        let ada = world.enrolls("ada@example.com").await;
        let grace = world.enrolls(lead("grace@example.com").on_the_phone("+351210000000")).await;
        world.after(days(2)).await;
        ada.is(Shown::Held).await;
        assert!(ada.plan().await.headline.contains("consent"), "{}", ada.plan().await.headline);
        // She agreed, and nobody has a number to write from.
        grace.is(Shown::Held).await;
        assert!(grace.plan().await.headline.contains("no sms sender works"));
        grace.skip().await;
        grace.received(&["intro"]).await;
        ada.skip().await;
        ada.ended(Outcome::Completed).await;
        ada.received(&["intro"]).await;
    }

    /// A mail needs consent only where it was refused.
    async fn a_refusal_of_consent_holds_mail(world: World) {
        world.given(sequence().email("intro")).await;
        let mut refusing = lead("ada@example.com");
        refusing.consent.email = Consent::Refused;
        let ada = world.enrolls(refusing).await;
        ada.is(Shown::Held).await;
        ada.agrees_to(Channel::Email).await;
        ada.received(&["intro"]).await;
    }

    /// A draft waits for a decision, and is held where it is refused or forgotten.
    async fn a_draft_waits_for_a_decision(world: World) {
        world.given(sequence().email_approved("intro").wait(days(1)).email("nudge")).await;
        let ada = world.enrolls("ada@example.com").await;
        let grace = world.enrolls("grace@example.com").await;
        let joan = world.enrolls("joan@example.com").await;
        ada.is(Shown::NeedsApproval).await;
        ada.decide(Decision::Approved).await;
        ada.received(&["intro"]).await;
        grace.decide(Decision::Rejected).await;
        grace.is(Shown::Held).await;
        world.after(days(2)).await;
        joan.is(Shown::Held).await;
        joan.skip().await;
        grace.stop().await;
        world.after(days(5)).await;
        ada.received(&["intro", "nudge"]).await;
        joan.received(&["nudge"]).await;
        grace.received(&[]).await;
    }

    /// A call waits on somebody's list; nobody home is tried again.
    async fn a_call_waits_to_be_made(world: World) {
        world.given(sequence().call("ring").wait(days(1)).email("after")).await;
        let ada = world.enrolls(lead("ada@example.com").on_the_phone("+351210000000")).await;
        ada.is(Shown::CallDue).await;
        ada.is_called(CallResult::NoAnswer).await;
        ada.is(Shown::Retrying).await;
        world.after(hours(4)).await;
        ada.is_called(CallResult::Reached).await;
        world.after(days(2)).await;
        ada.received(&["after"]).await;
        ada.ended(Outcome::Completed).await;
    }

    /// A sender that the provider refuses holds its leads until a person mends it.
    async fn a_refused_account_holds_the_lead(world: World) {
        world.given(sequence().email("intro")).await;
        world.provider().refuses(1, Refusal::Account).await;
        let ada = world.enrolls("ada@example.com").await;
        ada.is(Shown::Held).await;
        assert_eq!(ada.sight().await.enrollment.map(|it| matches!(it.state, machine::state::State::Held { missing, .. } if missing.why() == Why::SenderDisconnected)), Some(true));
        world.senders_are_resumed().await;
        ada.send_now().await;
        ada.received(&["intro"]).await;
    }
}
