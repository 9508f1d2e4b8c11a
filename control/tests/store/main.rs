//! One suite for both engines: SQLite always, PostgreSQL where a server is installed or
//! `DATABASE_URL_POSTGRES` names one that may be used (a database is made in it for each case).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test stops at the first surprise"
)]

mod app;
mod engines;
mod lease;
mod rows;
mod sqlite;

use engines::{Engine, Place};

/// Runs every case on a database of its own; the name of a case is the fact that holds.
macro_rules! suite {
    ($engine:expr, $($module:ident::$case:ident),+ $(,)?) => {$(
        eprintln!("{}: {}", $engine.name(), stringify!($case));
        $module::$case(&Place::new($engine).await).await;
    )+};
}

async fn every_case(engine: &Engine) {
    suite!(
        engine,
        rows::a_second_opening_finds_everything_done,
        rows::an_older_program_refuses_a_newer_schema,
        rows::a_dropped_transaction_leaves_nothing,
        rows::generations_increase_strictly_under_concurrent_writers,
        rows::only_live_rows_are_unique,
        rows::values_come_back_as_they_went,
        rows::a_list_keeps_to_its_namespaces_and_pages,
        rows::the_change_log_names_each_object_once,
        lease::one_control_holds_a_lease_and_an_older_one_writes_nothing,
        lease::two_controls_make_one_set_of_ticket_keys,
        app::a_restart_builds_the_same_snapshot,
        app::two_controls_on_one_database_follow_each_other,
        app::concurrent_changes_are_all_in_force_in_order,
        app::forwards_that_want_the_same_port_at_once_get_it_once,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_holds_on_sqlite() {
    every_case(&Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_holds_on_postgresql() {
    match engines::postgres().await {
        Some(engine) => every_case(&engine).await,
        None if std::env::var_os("CI").is_some() => {
            panic!("with CI set PostgreSQL must be there: install postgresql")
        }
        None => eprintln!(
            "skipped the_suite_holds_on_postgresql: neither DATABASE_URL_POSTGRES nor a local server"
        ),
    }
}
