//! The provider that takes the leads' messages, and how a scenario tells it to behave. Mail to our
//! own people is taken unless a scenario says otherwise.

use machine::signal::Refusal;

use super::World;

/// How the provider answers the leads' messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Script {
    /// It takes them.
    #[default]
    Accept,
    /// It refuses the next ones, this many, then takes them.
    RefuseNext(u32, Refusal),
    /// It refuses every one.
    RefuseAll(Refusal),
    /// It takes them, and refuses the next mails to our own people, this many.
    RefuseTeam(u32, Refusal),
    /// It does not answer until it is told to.
    Hold,
    /// It takes them, but its answer is lost.
    LoseAnswer,
}

/// What becomes of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reception {
    /// It is taken, and the provider says so.
    Take,
    /// It is not.
    Refuse(Refusal),
    /// It is taken when the provider is told to answer.
    Hold,
    /// It is taken, and nobody hears so.
    LoseAnswer,
}

impl Script {
    /// Judges the next message.
    pub(super) fn judge(&mut self, whose: Whose) -> Reception {
        match (whose, *self) {
            (Whose::Team, Self::RefuseTeam(times @ 1.., class)) => {
                *self = Self::RefuseTeam(times - 1, class);
                Reception::Refuse(class)
            }
            (Whose::Lead, Self::RefuseNext(times @ 1.., class)) => {
                *self = Self::RefuseNext(times - 1, class);
                Reception::Refuse(class)
            }
            (Whose::Lead, Self::RefuseAll(class)) => Reception::Refuse(class),
            (Whose::Lead, Self::Hold) => Reception::Hold,
            (Whose::Lead, Self::LoseAnswer) => Reception::LoseAnswer,
            (
                Whose::Team,
                Self::Accept
                | Self::RefuseNext(..)
                | Self::RefuseAll(_)
                | Self::RefuseTeam(0, _)
                | Self::Hold
                | Self::LoseAnswer,
            )
            | (Whose::Lead, Self::Accept | Self::RefuseNext(0, _) | Self::RefuseTeam(..)) => {
                Reception::Take
            }
        }
    }
}

/// To whom a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// To one of our own people.
    Team,
    /// To a lead.
    Lead,
}

/// The provider of a world.
pub struct Provider {
    world: World,
}

impl Provider {
    pub(super) fn new(world: World) -> Self {
        Self { world }
    }

    /// It takes everything again.
    pub async fn recovers(&self) {
        self.world.backend.script(Script::Accept).await;
    }

    /// It refuses everything from now on, for a reason that might pass.
    pub async fn refuses_for_ever(&self) {
        self.world.backend.script(Script::RefuseAll(Refusal::Retry)).await;
    }

    /// It refuses the next messages, this many.
    pub async fn refuses(&self, times: u32, class: Refusal) {
        self.world.backend.script(Script::RefuseNext(times, class)).await;
    }

    /// It refuses the next mails to our own people, this many.
    pub async fn refuses_mails_to_the_team(&self, times: u32, class: Refusal) {
        self.world.backend.script(Script::RefuseTeam(times, class)).await;
    }

    /// Calls stay in flight until [`Provider::answers`].
    pub async fn holds_its_answers(&self) {
        self.world.backend.script(Script::Hold).await;
    }

    /// It answers the calls in flight, and the later ones at once.
    pub async fn answers(&self) {
        self.world.backend.script(Script::Accept).await;
        self.world.backend.release().await;
        self.world.settle().await;
    }

    /// It takes the next messages, but nobody hears its answers.
    pub async fn loses_its_answers(&self) {
        self.world.backend.script(Script::LoseAnswer).await;
    }
}
