//! Why a device may not be opened, and what to do about it.

use std::path::Path;

use crate::process::{Identity, Ownership, group_name, user_name};

/// One message: the device, whose it is, who asks, and the fix.
pub(crate) fn explain(device: &Path, ownership: Ownership, me: &Identity) -> String {
    let Ownership { user, group, mode } = ownership;
    let groups = me.groups.iter().map(|group| group_name(*group)).collect::<Vec<_>>().join(", ");
    format!(
        "{} belongs to user {}, group {}, mode {mode:o}; this program runs as user {} with the \
         groups {groups}: {}",
        device.display(),
        user_name(user),
        group_name(group),
        user_name(me.user),
        fix(device, ownership, me)
    )
}

/// Whether owner, group and mode let somebody read and write. Root may everything.
fn may_use(ownership: Ownership, me: &Identity) -> bool {
    let Ownership { user, group, mode } = ownership;
    let allows = |shift: u32| mode >> shift & READ_WRITE == READ_WRITE;
    match me.user {
        0 => true,
        me if me == user => allows(6),
        _ if me.groups.contains(&group) => allows(3),
        _ => allows(0),
    }
}

fn fix(device: &Path, ownership: Ownership, me: &Identity) -> String {
    let Ownership { group, mode, .. } = ownership;
    let (name, device) = (group_name(group), device.display());
    if may_use(ownership, me) {
        // Owner, group and mode allow it: something above them does not.
        return if me.in_container {
            format!("the container was not given the device; start it with --device {device}")
        } else {
            format!(
                "owner and group allow it, so something else forbids it (a service's DeviceAllow=, \
                 AppArmor); add {device} there"
            )
        };
    }
    if mode >> 3 & READ_WRITE != READ_WRITE || group == 0 {
        return "no group can be joined for it; a udev rule gives it one: \
                SUBSYSTEM==\"tty\", GROUP=\"dialout\", MODE=\"0660\""
            .to_owned();
    }
    if me.in_container {
        return format!(
            "start the container with --group-add {group} (in compose.yaml: group_add: [\"{group}\"])"
        );
    }
    let user = user_name(me.user);
    format!(
        "usermod -aG {name} {user}, then log in again or restart the service (in a systemd unit: \
         SupplementaryGroups={name})"
    )
}

const READ_WRITE: u32 = 0o6;

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: u32 = 65_534;
    const DIALOUT: u32 = 20;

    fn told(ownership: (u32, u32, u32), groups: &[u32], in_container: bool) -> String {
        let (user, group, mode) = ownership;
        let me = Identity { user: NOBODY, groups: groups.to_vec(), in_container };
        explain(Path::new("/dev/ttyUSB0"), Ownership { user, group, mode }, &me)
    }

    #[test]
    fn the_message_names_everything_and_the_fix() {
        let told_all = told((0, DIALOUT, 0o660), &[100, 44], false);
        for part in [
            "/dev/ttyUSB0 belongs to user root, group dialout, mode 660",
            "runs as user nobody with the groups users, video",
            "usermod -aG dialout nobody",
        ] {
            assert!(told_all.contains(part), "{told_all}\n{part}");
        }
    }

    #[test]
    fn the_fix_is_one_that_helps() {
        for (ownership, groups, in_container, fix) in [
            ((0, DIALOUT, 0o660), &[100][..], true, "--group-add 20"),
            ((0, DIALOUT, 0o660), &[DIALOUT], true, "--device /dev/ttyUSB0"),
            ((0, DIALOUT, 0o660), &[DIALOUT], false, "DeviceAllow="),
            // Nobody gains a thing by joining these groups.
            ((0, DIALOUT, 0o640), &[DIALOUT], false, "udev"),
            ((0, 0, 0o660), &[100], false, "udev"),
        ] {
            let told = told(ownership, groups, in_container);
            assert!(told.contains(fix), "{told}\n{fix}");
        }
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        let me = |user| Identity { user, groups: vec![DIALOUT], in_container: false };
        let device = |user, group, mode| Ownership { user, group, mode };
        assert!(may_use(device(1, DIALOUT, 0o660), &me(NOBODY)));
        assert!(!may_use(device(1, 5, 0o660), &me(NOBODY)));
        assert!(may_use(device(1, 5, 0o666), &me(NOBODY)));
        assert!(!may_use(device(NOBODY, DIALOUT, 0o066), &me(NOBODY)));
        assert!(!may_use(device(1, DIALOUT, 0o606), &me(NOBODY)));
        assert!(may_use(device(1, 1, 0), &me(0)));
    }
}
