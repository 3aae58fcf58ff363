//! The permission table: what each role and each API key scope may do. The one place.
//!
//! # Adding one
//! A line in `permissions!`, the roles that hold it in [`of_role`], the key scopes in [`of_scope`]; then guard the
//! fields with it. The role matrix test walks the schema and prints what changed.

use tributary_entity::kinds::{ApiKeyScope, Role};

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One thing that somebody may or may not do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Permission { $($(#[$doc])* $name,)* }

        impl Permission {
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

permissions! {
    ReadTenant,
    /// The tenant's settings.
    ManageTenant,
    ReadUsers,
    ManageUsers,
    ManageApiKeys,
    ReadCampaigns,
    ManageCampaigns,
    /// Commission rules and their terms.
    ReadRules,
    ReadAffiliates,
    ManageAffiliates,
    ReadLinks,
    ManageLinks,
    ReadClicks,
    /// From which networks visitors came.
    ReadVisitors,
    RecordClicks,
    ReadConversions,
    RecordConversions,
    ReviewConversions,
    ReadCommissions,
    ReadEarnings,
    ReadReports,
    ReadLedger,
    /// What another attribution would pay, and what runs did.
    ReadAttribution,
    /// Post what another attribution pays.
    ApplyAttribution,
    ReadPayouts,
    /// Draft and submit payout batches, see them, and tell what became of their payouts.
    ManagePayouts,
    ApprovePayouts,
    /// Give affiliates bonuses, and put right what they have.
    PostAwards,
    /// Say where affiliates are paid.
    ManageDestinations,
    /// What only affiliates do: apply to a campaign in their own name.
    ActAsAffiliate,
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PermissionSet(u64);

impl PermissionSet {
    pub const EMPTY: Self = Self(0);

    pub const fn of(permissions: &[Permission]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < permissions.len() {
            bits |= 1 << permissions[index] as u8;
            index += 1;
        }
        Self(bits)
    }

    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u8) != 0
    }

    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

use Permission::{
    ActAsAffiliate, ApplyAttribution, ApprovePayouts, ManageAffiliates, ManageApiKeys, ManageCampaigns,
    ManageDestinations, ManageLinks, ManagePayouts, ManageTenant, ManageUsers, PostAwards, ReadAffiliates,
    ReadAttribution, ReadCampaigns, ReadClicks, ReadCommissions, ReadConversions, ReadEarnings, ReadLedger, ReadLinks,
    ReadPayouts, ReadReports, ReadRules, ReadTenant, ReadUsers, ReadVisitors, RecordClicks, RecordConversions,
    ReviewConversions,
};

const READ: PermissionSet = PermissionSet::of(&[
    ReadTenant,
    ReadCampaigns,
    ReadRules,
    ReadAffiliates,
    ReadLinks,
    ReadClicks,
    ReadVisitors,
    ReadConversions,
    ReadCommissions,
    ReadEarnings,
    ReadReports,
    ReadAttribution,
]);
const MANAGE: PermissionSet = PermissionSet::of(&[ManageCampaigns, ManageAffiliates, ManageLinks]);
const RECORD: PermissionSet = PermissionSet::of(&[RecordClicks, RecordConversions]);
/// No key opens these: what leaves the house, and who gets it, is decided by people.
const PAY: PermissionSet =
    PermissionSet::of(&[ReadPayouts, ManagePayouts, ApprovePayouts, PostAwards, ManageDestinations, ApplyAttribution]);

/// What a role may do.
pub const fn of_role(role: Role) -> PermissionSet {
    match role {
        Role::Owner | Role::Admin => READ.union(MANAGE).union(RECORD).union(PAY).union(PermissionSet::of(&[
            ManageTenant,
            ReadUsers,
            ManageUsers,
            ManageApiKeys,
            ReviewConversions,
            ReadLedger,
        ])),
        Role::Manager => READ.union(MANAGE).union(RECORD).union(PermissionSet::of(&[ReadUsers, ReviewConversions])),
        Role::Finance => READ.union(PAY).union(PermissionSet::of(&[ReviewConversions, ReadLedger])),
        Role::Analyst => READ,
        // The widest a key can be; each key narrows it by its scopes.
        Role::Integration => {
            READ.union(MANAGE).union(RECORD).union(PermissionSet::of(&[ReviewConversions, ReadLedger]))
        }
        Role::Affiliate => PermissionSet::of(&[
            ReadCampaigns,
            ReadAffiliates,
            ReadLinks,
            ManageLinks,
            ReadClicks,
            ReadConversions,
            ReadCommissions,
            ReadEarnings,
            ReadReports,
            ReadPayouts,
            ManageDestinations,
            ActAsAffiliate,
        ]),
    }
}

/// What roles may do together.
pub fn of_roles(roles: &[Role]) -> PermissionSet {
    roles.iter().fold(PermissionSet::EMPTY, |permissions, role| permissions.union(of_role(*role)))
}

/// What a key scope opens.
pub const fn of_scope(scope: ApiKeyScope) -> PermissionSet {
    match scope {
        ApiKeyScope::Read => READ,
        ApiKeyScope::Manage => MANAGE,
        ApiKeyScope::RecordClicks => PermissionSet::of(&[RecordClicks]),
        ApiKeyScope::RecordConversions => PermissionSet::of(&[RecordConversions]),
        ApiKeyScope::ReviewConversions => PermissionSet::of(&[ReviewConversions]),
        ApiKeyScope::ReadLedger => PermissionSet::of(&[ReadLedger]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_scopes_never_open_more_than_the_integration_role() {
        for scope in ApiKeyScope::ALL {
            for permission in Permission::ALL {
                assert!(
                    !of_scope(*scope).contains(*permission) || of_role(Role::Integration).contains(*permission),
                    "{scope}: {permission:?}"
                );
            }
        }
    }

    #[test]
    fn affiliates_hold_nothing_that_names_others_or_moves_money() {
        for permission in [
            ManageTenant,
            ReadUsers,
            ManageUsers,
            ManageApiKeys,
            ReadRules,
            ReadVisitors,
            RecordConversions,
            ReviewConversions,
            ReadLedger,
            ReadAttribution,
            ApplyAttribution,
            ManagePayouts,
            ApprovePayouts,
            PostAwards,
        ] {
            assert!(!of_role(Role::Affiliate).contains(permission), "{permission:?}");
        }
    }
}
