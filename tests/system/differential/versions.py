"""Git, in all its ways to treat files."""

from __future__ import annotations

from .case import Case, Table

START = """
git config --global user.name me; git config --global user.email me@example.org
git config --global init.defaultBranch main; git config --global advice.detachedHead false
git config --global gc.auto 0; git config --global core.fsync none
git config --global safe.directory '*'
"""
REPOSITORY = (
    START
    + r"""
git init -q r; cd r; echo one >a; mkdir d; echo two >d/b; ln -s a link; printf '#!/bin/sh\n' >x
chmod 755 x; git add .; git commit -qm first; echo more >>a; git commit -qam second; git tag v1
"""
)
END = "\nfind . -name index -path '*git*' -delete; find . -name '*HEAD.lock' -delete; true"


def repository(script: str) -> Case:
    """A case that finds a repository of two commits. The index, which holds times, is removed."""
    return Case(f"cd r\n{script}\ncd /mnt{END}", given=REPOSITORY)


TABLE: Table = {
    "git init and commit": Case(
        """
        git init r; cd r; git status -s; echo one >a; mkdir -p d/e; echo two >d/e/b; git add a d
        git status; git commit -m first; echo more >>a; git diff; git commit -am second
        git log --format='%H %s %an %ad'; git rm d/e/b; git mv a c; git status -s
        git commit -qm third; git show --stat; git ls-files -s; git fsck
        git rev-parse --show-toplevel; git cat-file -p HEAD; git hash-object c; cd /
        git -C /mnt/r status; git status; echo $?; cd /mnt; git log; echo $?
    """
        + END,
        given=START,
    ),
    "git branch, merge, rebase": repository("""
        git checkout -q -b side HEAD~1; echo side >s; git add s; git commit -qm side
        git checkout main; git merge -q side -m merged; git log --oneline --graph; git branch -a
        git checkout -q -b topic HEAD~1; echo t >t; git add t; git commit -qm topic
        git rebase main; git log --format=%s; git checkout -q -b conflict HEAD~2; echo other >a
        git commit -qam conflict; git merge main; echo $?; git status -s; git merge --abort
        git reset -q --hard main; git cherry-pick conflict; git cherry-pick --abort
        git stash list; echo dirty >>x; git stash -q; git stash pop -q; git status -s
        git clean -fdx; git reset --hard; git revert --no-edit HEAD
        git bisect start HEAD HEAD~2 >/dev/null; git bisect reset; git describe --tags
        git branch -D side
    """),
    "git clone, fetch, push": repository("""
        cd ..; git clone -q r c; git clone --bare r b.git; git clone -q --no-local r n
        git clone -q --shared r s; git clone --depth 1 -q file:///mnt/r shallow; cd c; echo new >n
        git add n; git commit -qm new; git remote -v; git push -q ../b.git main
        git push 2>&1 | grep rejected; git pull -q; git fetch ../b.git; git clone missing; echo $?
        cd ..; git -C b.git log --oneline; git ls-remote b.git; git -C n fsck; ls s shallow
        git bundle create -q bu r/main 2>/dev/null; git archive --remote=b.git main | tar t
        git -C r archive main d | tar t; rm -f bu; git -C b.git show main:n
    """),
    "git worktree, gc": repository("""
        git worktree add -q ../w -b work; git worktree list; cd ../w; cat .git; echo w >w
        git add w; git commit -qm work; git log --oneline; cd ../r; git merge -q work
        git worktree remove ../w; git worktree list; ls ..; git gc -q; ls .git/objects
        git count-objects; git repack -adq; git prune; git fsck
        git reflog expire --expire=now --all; git gc -q --prune=now
        git verify-pack .git/objects/pack/*.idx; git pack-refs --all; cat .git/packed-refs
        git maintenance run --quiet; git show HEAD:w; git worktree add ../w2 missing; echo $?
        git checkout -q HEAD~1; ls; git switch -q -; ls; git update-index --refresh
        git diff --stat HEAD~1; rm -rf .git/objects/pack .git/objects/info .git/logs
    """),
    "git submodule, hooks, apply": repository(r"""
        git -c protocol.file.allow=always submodule add -q /mnt/r sub; git submodule status
        git commit -qm sub; cat .gitmodules
        printf '#!/bin/sh\necho hook $0; pwd; exit 1\n' >.git/hooks/pre-commit
        chmod 755 .git/hooks/pre-commit; echo x >>a; git commit -am hooked; echo $?
        rm .git/hooks/pre-commit; git diff >../p; git checkout -q a; git apply ../p; cat a
        git apply ../p; echo $?; git format-patch -q -1 --stdout HEAD~1 | head -4
        git config --list --local; git config -f ../cfg a.b c; cat ../cfg; git grep more
        git blame -s a; git check-ignore -v a; echo '*.o' >.gitignore; touch q.o; git status -s
        git check-ignore q.o; git ls-files -o; git sparse-checkout set d; ls
        git sparse-checkout disable; git notes add -m note; git log -1 --format=%N
        git sub 2>&1 | head -1; GIT_DIR=/mnt/r/.git GIT_WORK_TREE=/mnt/r git -C / status -s
        git var GIT_AUTHOR_IDENT; git --exec-path | wc -l; git for-each-ref
    """),
}
