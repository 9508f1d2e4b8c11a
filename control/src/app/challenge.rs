//! Answers to challenges: rows and published objects at once, so that a restart finds them and a finished order's are
//! taken back.

use config::id::ChallengeId;
use config::name::HostName;
use config::snapshot::{ChallengeAnswer, Generation, Kind, Value};

use super::change::{Change, Scope};
use super::{App, Caller, Error};
use crate::publish::build::{self, CHALLENGE_PURPOSE};
use crate::store;
use crate::store::challenge::{AnswerRow, ChallengeRow};

/// What one name is to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The name that the authority looks at.
    pub host: HostName,
    /// What it is to find.
    pub answer: ChallengeAnswer,
}

/// Publishes the answers of an order in one generation, in the place of those it had before. Wait for
/// [`crate::publish::await_acknowledged`] with the generation before the authority is told to look.
pub async fn publish(app: &App, order: &str, answers: &[Answer]) -> Result<Generation, Error> {
    let caller = Caller::ourselves("acme");
    let mut change = app.begin(&caller, Scope::Published).await?;
    remove(&mut change, order).await?;
    let now = change.now();
    for Answer { host, answer } in answers {
        let answer = match answer {
            ChallengeAnswer::Http { token, key_authorization } => {
                AnswerRow::Http { token: token.to_string(), key_authorization: key_authorization.to_string() }
            }
            ChallengeAnswer::TlsAlpn { certificate, key } => {
                let sealed = app.keys.seal(CHALLENGE_PURPOSE, key.expose());
                let key_sealed = sealed.map_err(|error| Error::Internal(error.to_string()))?;
                AnswerRow::TlsAlpn { certificate: certificate.clone(), key_sealed }
            }
        };
        let id = ChallengeId::from_uuid(uuid::Uuid::now_v7());
        let row = ChallengeRow { id, order: order.to_owned(), host: host.clone(), answer, created_at: now };
        store::challenge::insert(change.conn(), &row).await?;
        change.put(Value::Challenge(build::challenge(&row, app.keys.as_ref())?));
    }
    change.commit().await
}

/// Takes the answers of an order back; one that has none costs no generation.
pub async fn withdraw(app: &App, order: &str) -> Result<(), Error> {
    if store::challenge::of_order(&mut app.db.read().await?, order).await?.is_empty() {
        return Ok(());
    }
    let caller = Caller::ourselves("acme");
    let mut change = app.begin(&caller, Scope::Published).await?;
    remove(&mut change, order).await?;
    change.commit().await.map(drop)
}

/// Takes the answers of an order back as a part of a change.
pub async fn remove(change: &mut Change<'_>, order: &str) -> Result<(), Error> {
    for row in store::challenge::of_order(change.conn(), order).await? {
        change.remove(Kind::CHALLENGE, row.id.to_bytes());
    }
    Ok(store::challenge::delete_of(change.conn(), order).await?)
}

/// Takes back the answers of orders that are not under way any more: control was killed in between.
pub async fn sweep(app: &App) -> Result<(), Error> {
    for order in store::challenge::left_behind(&mut app.db.read().await?).await? {
        withdraw(app, &order).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use config::secret::Secret;
    use config::snapshot::Challenge;

    use super::*;
    use crate::app::testing::Fixture;

    fn published(app: &App) -> Vec<Challenge> {
        let snapshot = Arc::clone(&app.desired.current().snapshot);
        let challenge = |object: &config::snapshot::Object| {
            if let Value::Challenge(challenge) = object.decode().unwrap() { Some(challenge) } else { None }
        };
        snapshot.objects().filter_map(challenge).collect()
    }

    fn http(host: &str) -> Answer {
        let answer = ChallengeAnswer::Http { token: "tok".into(), key_authorization: "tok.thumb".into() };
        Answer { host: HostName::parse(host).unwrap(), answer }
    }

    #[tokio::test]
    async fn answers_are_published_survive_a_restart_and_are_taken_back() {
        let fixture = Fixture::new().await;
        let alpn = Answer {
            host: HostName::parse("b.example").unwrap(),
            answer: ChallengeAnswer::TlsAlpn { certificate: vec![1, 2], key: Secret::new(vec![3, 4]) },
        };
        let answers = [http("a.example"), alpn];
        let generation = publish(&fixture.app, "order", &answers).await.unwrap();
        assert_eq!(fixture.app.desired.current().snapshot.generation(), generation);
        let mut found: Vec<_> =
            published(&fixture.app).into_iter().map(|c| Answer { host: c.host, answer: c.answer }).collect();
        found.sort_by_key(|answer| answer.host.to_string());
        assert_eq!(found, answers);

        let reopened = fixture.reopened().await;
        assert_eq!(published(&reopened).len(), 2);
        withdraw(&reopened, "order").await.unwrap();
        assert!(published(&reopened).is_empty());
    }

    #[tokio::test]
    async fn publishing_again_replaces_and_a_sweep_takes_what_no_order_needs() {
        let fixture = Fixture::new().await;
        publish(&fixture.app, "order", &[http("a.example"), http("b.example")]).await.unwrap();
        publish(&fixture.app, "order", &[http("c.example")]).await.unwrap();
        assert_eq!(published(&fixture.app).len(), 1);
        sweep(&fixture.app).await.unwrap();
        assert!(published(&fixture.app).is_empty());
    }
}
