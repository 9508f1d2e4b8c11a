//! When a certificate is due, and when a failed attempt is repeated.

use super::Item;

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// Rest of life at which a certificate of ninety days and more is renewed (INVENTORY C-18).
const RENEW_LEFT: i64 = 30 * DAY;
/// Life below which a third of it is the rest instead.
const SHORT_LIFE: i64 = 90 * DAY;
/// First pause after a failure; each further one doubles it.
const BACKOFF_FIRST: i64 = 10 * MINUTE;
/// Longest pause after failures: two tries a day, and more when little time is left.
const BACKOFF_LAST: i64 = 12 * HOUR;
/// Longest Retry-After that is honoured; a wrong one must not cost the certificate.
const RETRY_AFTER_MAX: i64 = 7 * DAY;
/// Pause before something that other orders hold back is looked at again.
pub(super) const LOOK_AGAIN: i64 = MINUTE;

/// Times within which an authority wants a certificate renewed (RFC 9773 § 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First second.
    pub start: i64,
    /// Last second.
    pub end: i64,
}

/// Attempts that failed since the last one that did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failures {
    /// How many.
    pub count: u32,
    /// When the last one failed; no meaning without one.
    pub last: i64,
    /// What the authority asked to wait for this set of names (Retry-After), as a moment.
    pub retry_after: Option<i64>,
}

/// When a certificate is due, failures aside.
///
/// Never issued: at once. Else 30 days before its end, or when a third of its life is left for lives shorter than 90
/// days, and a jitter of at most a thirty-sixth of that rest later: of thirty days less than one, so that with 31 days left
/// it is not due, and with 29 it is (INVENTORY C-18). ARI's window goes before
/// where there is one: a random moment in it, which stays the same for the same window (RFC 9773 § 4.2), and never so late
/// that a tenth of the rest is gone. A window in which the certificate has not begun is not believed.
pub fn due(item: &Item, seed: u64) -> i64 {
    let Some(current) = item.current else { return i64::MIN };
    let life = current.not_after.saturating_sub(current.not_before).max(1);
    let rest = if life < SHORT_LIFE { life / 3 } else { RENEW_LEFT.min(life / 3) };
    let own = current.not_after.saturating_sub(rest);
    let late = draw(seed, item.id, u64::from_le_bytes(current.not_after.to_le_bytes()), rest / 36);
    let Some(window) =
        item.window.filter(|window| window.start < window.end && window.end > current.not_before)
    else {
        return own.saturating_add(late);
    };
    let length = window.end.saturating_sub(window.start);
    let salt = window.start.rotate_left(17) ^ window.end;
    let wished =
        window.start.saturating_add(draw(seed, item.id, u64::from_le_bytes(salt.to_le_bytes()), length));
    wished.min(own.saturating_add(rest / 10))
}

/// When an item with failures may be tried again; the distant past without any.
///
/// Ten minutes, doubled with each failure up to twelve hours; never longer than a tenth of the life that was left at the
/// failure, so that the last days see more tries. A jitter makes it up to a fifth longer. Retry-After goes before where
/// it is later. After a failure of the future (the clock went back
/// since) there is no telling how long ago it was: it may be tried now, and what comes of that is noted with the new time.
pub fn next_try(item: &Item, now: i64, seed: u64) -> i64 {
    let Failures { count, last, retry_after } = item.failures;
    if count == 0 || last > now {
        return i64::MIN;
    }
    let doubled =
        BACKOFF_FIRST.saturating_mul(1_i64.checked_shl(count.saturating_sub(1).min(16)).unwrap_or(i64::MAX));
    let left = item.current.map_or(i64::MAX, |current| current.not_after.saturating_sub(last));
    let most = (left / 10).clamp(BACKOFF_FIRST, BACKOFF_LAST);
    let pause = doubled.min(most);
    let jitter = draw(seed, item.id, u64::from(count), pause / 5);
    let own = last.saturating_add(pause).saturating_add(jitter);
    let asked = retry_after.map_or(i64::MIN, |at| at.min(last.saturating_add(RETRY_AFTER_MAX)));
    own.max(asked)
}

/// A number from 0 to `below`, both included, always the same for the same arguments (SplitMix64 over their mix).
fn draw(seed: u64, id: u128, salt: u64, below: i64) -> i64 {
    let [low, high] = [id, id >> 64].map(|part| u64::try_from(part & u128::from(u64::MAX)).unwrap_or(0));
    let mixed = [low, high, salt].into_iter().fold(seed, |state, part| split_mix(state ^ part));
    let range = u64::try_from(below).unwrap_or(0).saturating_add(1);
    i64::try_from(mixed % range).unwrap_or(0)
}

fn split_mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ state >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ state >> 31
}
