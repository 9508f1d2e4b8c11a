//! Where an order is, and what each step left for the next.

use serde::{Deserialize, Serialize};

use super::super::super::Error;
use super::super::outside::Txt;

/// What is done next. The order of the variants is the order of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The account is registered with the authority, unless it is.
    Register,
    /// What would make the authority refuse is looked for.
    Preflight,
    /// Key and request are made and sealed.
    Prepare,
    /// The authority is asked for an order.
    Start,
    /// What it wants to see is put where it will look.
    Publish,
    /// Every gateway says that it answers.
    Confirm,
    /// The authority is told to look.
    Tell,
    /// It looks.
    Validate,
    /// The request is handed in.
    Finalize,
    /// The authority issues.
    Issue,
    /// The chain is fetched.
    Download,
    /// The chain takes the place of the old one, and the answers are taken back, in one generation.
    Install,
    /// What is left elsewhere is taken away.
    Clean,
    /// It is served.
    Done,
    /// It was given up.
    Cancelled,
}

impl Step {
    const ALL: [Self; 15] = [
        Self::Register,
        Self::Preflight,
        Self::Prepare,
        Self::Start,
        Self::Publish,
        Self::Confirm,
        Self::Tell,
        Self::Validate,
        Self::Finalize,
        Self::Issue,
        Self::Download,
        Self::Install,
        Self::Clean,
        Self::Done,
        Self::Cancelled,
    ];

    /// Its word in rows and views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Preflight => "preflight",
            Self::Prepare => "prepare",
            Self::Start => "start",
            Self::Publish => "publish",
            Self::Confirm => "confirm",
            Self::Tell => "tell",
            Self::Validate => "validate",
            Self::Finalize => "finalize",
            Self::Issue => "issue",
            Self::Download => "download",
            Self::Install => "install",
            Self::Clean => "clean",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads [`Step::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == text)
    }

    /// The one after it.
    pub fn next(self) -> Self {
        let place = Self::ALL.iter().position(|step| *step == self).unwrap_or_default();
        Self::ALL.get(place + 1).copied().unwrap_or(Self::Done)
    }

    /// Whether nothing comes after it.
    pub const fn is_last(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }

    /// What the log says before it is taken.
    pub const fn intent(self) -> &'static str {
        match self {
            Self::Register => "looking whether the account is registered",
            Self::Preflight => "looking for what would make the authority refuse",
            Self::Prepare => "making a key and the request",
            Self::Start => "asking the authority for an order",
            Self::Publish => "publishing what the authority wants to see",
            Self::Confirm => "waiting until every gateway answers it",
            Self::Tell => "telling the authority to look",
            Self::Validate => "waiting for the authority's verdict",
            Self::Finalize => "handing in the request",
            Self::Issue => "waiting for the certificate",
            Self::Download => "fetching the certificate",
            Self::Install => "putting the certificate in force",
            Self::Clean => "taking away what was published",
            Self::Done => "served",
            Self::Cancelled => "given up",
        }
    }
}

/// What each step left for the next. No secret: the key is sealed in a column of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Left {
    /// The request, as DER in base64.
    pub csr: Option<String>,
    /// The ledger's entry of the request for an order; without [`Left::order`] its answer is not known.
    pub intent: Option<String>,
    /// URL of the order at the authority.
    pub order: Option<String>,
    /// The generation that holds the answers.
    pub generation: Option<u64>,
    /// TXT records that were put, or were about to be.
    pub records: Vec<Txt>,
    /// How often the authority was asked since it last moved on.
    pub polls: u32,
    /// The chain, each certificate as DER in base64.
    pub chain: Vec<String>,
}

impl Left {
    /// Reads what [`Left::to_text`] wrote.
    pub fn parse(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text)
            .map_err(|why| Error::Internal(format!("the progress of an order cannot be read: {why}")))
    }

    /// As JSON.
    pub fn to_text(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(|why| Error::Internal(why.to_string()))
    }
}
