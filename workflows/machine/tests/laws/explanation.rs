//! Explanations are held against what the machine does.

use machine::explain::{self, Shown};
use machine::sequence::StepKind;
use machine::state::State;
use proptest::prelude::*;

use crate::run::{Run, current};
use crate::{cases, moves, watch};

proptest! {
    #![proptest_config(cases())]

    /// The plan names the time at which the lead will wake, and the constraint that made it so.
    #[test]
    fn a_plan_says_what_will_happen(seed: u64, moves in moves()) {
        watch(seed, &moves, |change| {
            let (after, context) = (change.after, &change.context);
            let plan = explain::explain(after, context);
            let summary = explain::summary(after, context.version);
            assert_eq!(plan.state, summary.state);
            assert_eq!(plan.state.is_over(), matches!(after.state, State::Ended { .. }));
            assert_eq!(plan.next.as_ref().map(|next| &next.step), summary.next_step.as_ref());
            assert!(plan.then.len() <= 20);
            let State::Waiting { step, wait } = &after.state else { return };
            if context.version.step(step).is_none() {
                return;
            }
            let binding = plan.constraints.iter().rev().find(|constraint| constraint.binding);
            assert_eq!(plan.next.unwrap().at, Some(wait.wake_at));
            assert_eq!(binding.map(|binding| binding.kind), Some(wait.why));
            assert_eq!((summary.until, summary.why), (Some(wait.wake_at), Some(wait.why)));
        });
    }

    /// The forecast comes true where nobody says anything and the provider takes everything.
    #[test]
    fn a_forecast_comes_true_where_nothing_happens(seed: u64) {
        let mut run = Run::new(seed);
        run.drive(&[], &mut |_| {});
        let facts = run.facts.clone();
        let plan = explain::explain(&run.enrollment, &run.context(&facts));
        let mut came = Vec::new();
        let mut seen = current(&run.enrollment.state).cloned();
        for _ in 0..100 {
            if let State::Waiting { step, wait } = &run.enrollment.state
                && seen.as_ref() != Some(step)
            {
                came.push((step.clone(), wait.wake_at));
                seen = Some(step.clone());
            }
            if !matches!(
                run.enrollment.state,
                State::Waiting { .. }
                    | State::Dispatching { .. }
                    | State::AwaitingApproval { .. }
                    | State::AwaitingCall { .. }
            ) {
                break;
            }
            let before = run.facts.clone();
            let Some(signal) = run.help() else { break };
            run.facts = before;
            run.apply(&signal, &mut |_| {});
        }
        let version = &run.versions[0];
        let is_decision = |key: &machine::key::StepKey| {
            version.step(key).is_some_and(|step| matches!(step.kind, StepKind::Condition { .. }))
        };
        let foreseen = plan.then.iter().filter_map(|forecast| {
            let key = forecast.step.clone()?;
            (!is_decision(&key)).then_some((key, forecast.at?))
        });
        let foreseen: Vec<_> = foreseen.collect();
        let came: Vec<_> = came.into_iter().filter(|(key, _)| !is_decision(key)).collect();
        prop_assert_eq!(&came[..came.len().min(foreseen.len())], &foreseen[..]);
        // Only a plan that is full, decisions and all, may stop before the sequence does.
        prop_assert!(foreseen.len() >= came.len() || plan.then.len() == 20);
    }

    /// Every state has a word, and every word is written one way.
    #[test]
    fn a_state_is_shown_by_one_word(seed: u64, moves in moves()) {
        watch(seed, &moves, |change| {
            let shown = Shown::of(change.after, change.context.version);
            assert_eq!(serde_json::to_value(shown).unwrap(), shown.as_str());
        });
    }
}
