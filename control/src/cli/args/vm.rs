//! Words of `vm`.

use clap::{Args, Subcommand};

/// Virtual machines.
#[derive(Debug, Subcommand)]
pub enum VmCommand {
    /// Makes a virtual machine known.
    #[command(visible_alias = "create")]
    Add {
        /// Its name, unique in the namespace.
        name: String,
        /// Its address.
        address: String,
        /// Tenant that owns it.
        #[arg(long)]
        namespace: Option<String>,
        /// Network of the address.
        #[arg(long)]
        network: Option<String>,
        /// Where its sshd listens.
        #[arg(long, value_name = "PORT")]
        ssh_port: Option<u16>,
        /// A remark.
        #[arg(long)]
        note: Option<String>,
    },
    /// Lists virtual machines.
    #[command(visible_alias = "ls")]
    List {
        /// Only this tenant's.
        #[arg(long)]
        namespace: Option<String>,
    },
    /// Shows one virtual machine.
    Show(VmRef),
    /// Changes one virtual machine.
    Update {
        /// Which.
        #[command(flatten)]
        vm: VmRef,
        /// New name.
        #[arg(long)]
        name: Option<String>,
        /// New address.
        #[arg(long)]
        address: Option<String>,
        /// New network.
        #[arg(long)]
        network: Option<String>,
        /// New port of its sshd.
        #[arg(long, value_name = "PORT")]
        ssh_port: Option<u16>,
        /// New remark.
        #[arg(long)]
        note: Option<String>,
    },
    /// Lists the SSH host keys that a VM has shown to terminals in the browser.
    HostKeys(VmRef),
    /// Accepts another SSH host key of a VM: compare it with `ssh-keygen -lf` on the VM first.
    AcceptHostKey {
        /// Which.
        #[command(flatten)]
        vm: VmRef,
        /// `SHA256:…`
        fingerprint: String,
        /// Takes the trust back instead: `refused`, or `forgotten` to believe the next one that is shown.
        #[arg(long, value_name = "STATE", default_value = "accepted")]
        state: String,
    },
    /// Deletes one virtual machine and ends what leads to it.
    #[command(visible_alias = "delete")]
    Rm(VmRef),
}

/// Names one virtual machine.
#[derive(Debug, Clone, Args)]
pub struct VmRef {
    /// Name or id.
    pub vm: String,
    /// Tenant that owns it, where several have one of that name.
    #[arg(long)]
    pub namespace: Option<String>,
}
