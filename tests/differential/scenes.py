"""The command lines that must do the same in docker and in onggi; read by `sides`.

A scene is a few lines that build on each other: each is run on both sides, and its stdout, the
first line of its stderr and its exit code are compared. Before a scene there is the image
busybox:latest and nothing else; what it leaves behind is removed. Lines are split as a shell would
split them, but no shell runs them. `<<< text` at the end is the standard input, and `@name@` is the
full id of that container, `@name:12@` its first digits. FILES lie in the current directory.
"""

FILES = {
    "env": "# a comment\nFROM_FILE=one\n\nSPACED=a b  \nEMPTY=\n",
    "labels": "from.file=yes\nbare\n",
    "bad-env": "A B=c\n",
    "note.txt": "a note\n",
    "tree/deep/file": "deep\n",
    "tree/top": "top\n",
}

SCENES = {
    "run: the process": """
        run --rm busybox echo hi
        run --rm busybox sh -c 'echo out; echo err >&2; exit 3'
        run --rm busybox false
        run --rm busybox sh -c 'kill -9 $$'
        run --rm busybox sh -c 'kill -15 $$'
        run --rm busybox nosuch
        run --rm busybox /etc
        run --rm busybox /nosuch/thing
        run --rm busybox /etc/passwd
        run --rm --entrypoint echo busybox x y
        run --rm --entrypoint '' busybox echo z
        run --rm --entrypoint nosuch busybox
        run --rm -i busybox cat <<< hello
        run --rm busybox cat <<< unread
        run --rm -a stdout busybox sh -c 'echo out; echo err >&2'
        run --rm -a stderr busybox sh -c 'echo out; echo err >&2'
        run --rm -q busybox echo quiet
        run -t --rm busybox tty
        run -t --rm busybox sh -c 'echo $TERM'
    """,
    "run: environment": """
        run --rm busybox env
        run --rm -e A=1 -e UNSET busybox sh -c 'echo "[$A] [${UNSET-unset}]"'
        run --rm -e A=1 -e A=2 busybox sh -c 'echo $A'
        run --rm -e PATH=/bin busybox sh -c 'echo $PATH'
        run --rm --env-file env busybox sh -c 'echo "$FROM_FILE [$SPACED] [$EMPTY]"'
        run --rm --env-file env -e FROM_FILE=two busybox sh -c 'echo $FROM_FILE'
        run --rm --env-file bad-env busybox true
        run --rm --env-file nosuch busybox true
        run --rm -h box busybox sh -c 'hostname; echo $HOSTNAME'
        run --rm -h box --domainname example.org busybox hostname -f
        run --rm -w /tmp busybox pwd
        run --rm -w /new/dir busybox pwd
        run --rm -w relative busybox pwd
        run --rm -u 1000:1000 busybox id
        run --rm -u 1000 busybox sh -c 'id; echo $HOME'
        run --rm -u nobody busybox sh -c 'id; echo $HOME'
        run --rm -u daemon:daemon busybox id -un
        run --rm -u nosuch busybox id
        run --rm -u 1000:nosuch busybox id
        run --rm -u 99999999999 busybox id
        run --rm --group-add 20 --group-add daemon busybox id -G
        run --rm --group-add nosuch busybox id
    """,
    "run: the sandbox": """
        run --rm busybox grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status
        run --rm --cap-drop ALL busybox grep CapEff /proc/self/status
        run --rm --cap-drop ALL --cap-add NET_ADMIN --cap-add cap_chown busybox grep CapEff /proc/self/status
        run --rm --cap-add NET_ADMIN --cap-drop MKNOD busybox grep CapBnd /proc/self/status
        run --rm --cap-add NOSUCH busybox true
        run --rm --cap-drop nosuch busybox true
        run --rm -u 1000 busybox grep -E '^Cap(Eff|Prm|Bnd)' /proc/self/status
        run --rm --security-opt no-new-privileges busybox grep NoNewPrivs /proc/self/status
        run --rm --security-opt seccomp=unconfined busybox grep Seccomp: /proc/self/status
        run --rm --security-opt seccomp=note.txt busybox true
        run --rm --read-only busybox touch /file
        run --rm --read-only --tmpfs /t busybox touch /t/file
        run --rm busybox sh -c 'echo 1 > /proc/sys/kernel/hostname'
        run --rm busybox sh -c 'mount -t tmpfs t /tmp'
        run --rm busybox sh -c 'ls /proc/acpi /proc/scsi; wc -c < /proc/kcore; wc -c < /proc/keys'
        run --rm busybox sh -c 'cd /dev; ls -d console null zero full tty random urandom ptmx pts shm mqueue fd stdin stdout stderr core'
        run --rm busybox sh -c 'ls -l /dev/null /dev/zero /dev/full | cut -c 1-10'
        run --rm busybox readlink /dev/ptmx /dev/fd /dev/stdin /dev/core
        run --rm busybox sh -c 'cut -d " " -f 2,3 /proc/mounts | grep -v cgroup | sort'
        run --rm busybox sh -c 'grep -E " /(proc|sys|dev|dev/pts|dev/shm|dev/mqueue) " /proc/mounts | cut -d " " -f 2-4 | sed "s/,gid=.*//;s/,size=.*//"'
        run --rm busybox umask
        run --rm --ulimit nofile=100:200 --ulimit core=0 busybox sh -c 'ulimit -n; ulimit -Hn; ulimit -c'
        run --rm --sysctl net.ipv4.ip_default_ttl=40 busybox cat /proc/sys/net/ipv4/ip_default_ttl
        run --rm --sysctl kernel.hostname=x busybox true
        run --rm --shm-size 1m busybox sh -c 'df -k /dev/shm | tail -1'
        run --rm --tmpfs /t:size=2m,mode=700 busybox sh -c 'df -k /t | tail -1; stat -c %a /t'
        run --rm --tmpfs /t:bogus=1 busybox true
        run --rm --mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=755 busybox sh -c 'df -k /t | tail -1; stat -c %a /t'
        run --rm --oom-score-adj 500 busybox cat /proc/self/oom_score_adj
        run --rm --oom-score-adj 5000 busybox true
        run --rm --pid host --network none busybox sh -c 'test $$ -gt 10 && echo many'
        run --rm busybox sh -c 'echo $$'
        run --rm --uts host busybox sh -c 'test "$(hostname)" != "" && echo named'
        run --rm --uts host -h box busybox hostname
        run --rm --ipc none busybox sh -c 'grep -c /dev/shm /proc/mounts'
        run --rm --pid container:nosuch busybox true
        run --rm --ipc container:nosuch busybox true
        run --rm --init busybox sh -c 'test $$ != 1 && echo child'
    """,
    "run: resources": """
        run --rm -m 16m busybox cat /sys/fs/cgroup/memory/memory.limit_in_bytes
        run --rm -m 4m busybox true
        run --rm -m 32m --memory-swap 16m busybox true
        run --rm --memory-swap 16m busybox true
        run --rm -m 16m --memory-reservation 32m busybox true
        run --rm --cpus 0.5 busybox cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us
        run --rm --cpus 1000 busybox true
        run --rm --cpus 1 --cpu-quota 5000 busybox true
        run --rm --cpus -1 busybox true
        run --rm --cpu-shares 100 busybox cat /sys/fs/cgroup/cpu/cpu.shares
        run --rm --cpu-quota 500 busybox true
        run --rm --cpu-period 10 busybox true
        run --rm --cpuset-cpus 0 busybox nproc
        run --rm --cpuset-cpus 99 busybox true
        run --rm --cpuset-cpus a-b busybox true
        run --rm --cpuset-mems 99 busybox true
        run --rm --pids-limit 50 busybox cat /sys/fs/cgroup/pids/pids.max
        run --rm --pids-limit -1 busybox cat /sys/fs/cgroup/pids/pids.max
        run --rm --memory-swappiness 101 busybox true
        run --rm --blkio-weight 5 busybox true
        run --rm --device /dev/nosuch busybox true
        run --rm --device /dev/null:/dev/mine busybox ls /dev/mine
        run --rm --device /dev/null:/dev/mine:x busybox true
    """,
    "run: networks": """
        run --rm busybox ls /sys/class/net
        run --rm --network none busybox ls /sys/class/net
        run --rm --network nosuch busybox true
        run --rm --network container:nosuch busybox true
        run --rm --network host -p 80:80 busybox echo published
        run --rm --network host -h box busybox hostname
        run --rm --add-host peer:1.2.3.4 --add-host six=::1 busybox grep -E 'peer|six' /etc/hosts
        run --rm -h box --network none busybox cat /etc/hosts
        run --rm --dns 1.2.3.4 --dns-search example.org --dns-option ndots:2 --network none busybox grep -v '^#' /etc/resolv.conf
        run -d --name server --network none busybox sleep 100
        run --rm --network container:server busybox ls /sys/class/net
        run --rm --network container:server -h box busybox true
        run --rm --network container:server -p 80:80 busybox true
        run --rm --network container:server --dns 1.2.3.4 busybox true
        run --rm --network container:server --add-host a:1.2.3.4 busybox true
        run --rm --network container:server --expose 80 busybox true
        run --rm --mac-address 02:00:00:00:00:99 busybox cat /sys/class/net/eth0/address
        run --rm --mac-address nonsense busybox true
        run --rm --ip 1.2.3.4 busybox true
    """,
    "run: mounts": """
        run --rm -v mine:/data busybox sh -c 'echo kept > /data/file'
        run --rm -v mine:/data:ro busybox cat /data/file
        run --rm -v mine:/data:ro busybox touch /data/other
        run --rm -v ./tree:/tree busybox cat /tree/deep/file
        run --rm -v ./note.txt:/note:ro busybox cat /note
        run --rm -v ./note.txt:/note:ro busybox sh -c 'echo x > /note'
        run --rm -v ./note.txt:/etc/hosts busybox cat /etc/hosts
        run --rm -v mine:relative busybox true
        run --rm -v mine:/ busybox true
        run --rm -v /:/ busybox true
        run --rm -v mine:/data:bogus busybox true
        run --rm -v mine:/data:ro,rw busybox true
        run --rm -v 'Bad name:/data' busybox true
        run --rm -v x:/data busybox true
        run --rm -v mine:/a -v mine:/a busybox true
        run --rm --mount type=bind,src=/nosuch/path,dst=/x busybox true
        run --rm --mount type=bind,src=relative,dst=/x busybox true
        run --rm --mount type=volume,dst=/x busybox stat -c %a /x
        run --rm --mount type=volume,src=mine,dst=/data,readonly busybox cat /data/file
        run --rm --mount type=volume,src=mine busybox true
        run --rm --mount type=nosuch,dst=/x busybox true
        run --rm --mount src=mine,dst=/d,volume-nocopy busybox cat /d/file
        run --rm -v mine:/etc busybox grep -c localhost /etc/hosts
        run --rm -v mine:/etc busybox sh -c 'ls /etc/file; ls /etc | wc -l'
        run --rm -v fresh:/etc busybox sh -c 'grep -c root /etc/passwd'
        run --rm -v fresh2:/etc:nocopy busybox ls /etc/passwd
        volume ls -q
        create --name holder -v mine:/data -v /anonymous busybox true
        run --rm --volumes-from holder busybox cat /data/file
        run --rm --volumes-from holder:ro busybox touch /data/other
        run --rm --volumes-from nosuch busybox true
        volume rm mine
    """,
    "create: names, ids and errors": """
        create --name one busybox true
        create --name one busybox true
        create --name /one busybox true
        create --name x busybox true
        create --name 'a b' busybox true
        create --name -bad busybox true
        create nosuch-image:latest --pull never
        create --pull never nosuch-image:latest
        create --pull never nosuch-image
        create --pull sometimes busybox
        run --pull never nosuch-image true
        create UPPER
        create busybox:bad:tag
        create --cidfile note.txt busybox true
        create --cidfile id --name two busybox true
        create --restart nosuch busybox true
        create --restart always:3 busybox true
        create --restart on-failure:-1 busybox true
        create --rm --restart always busybox true
        create --stop-signal NOSUCH busybox true
        create --stop-timeout x busybox true
        create --log-driver nosuch busybox true
        create --log-opt nosuch=1 busybox true
        create --log-opt max-size=x busybox true
        create --log-opt max-file=0 busybox true
        create --log-driver none --log-opt max-size=1m busybox true
        create --isolation nosuch busybox true
        create --runtime nosuch busybox true
        create --userns nosuch busybox true
        create --cgroupns nosuch busybox true
        create --ipc nosuch busybox true
        create --link nosuch busybox true
        create --gpus nosuch=1 busybox true
        create --platform nosuch busybox true
        create --pull never --platform linux/arm64 busybox true
        create --health-cmd true --no-healthcheck busybox true
        create --health-interval 1us busybox true
        create --health-retries -1 busybox true
        create --no-such-flag busybox
        create
        ps -a --no-trunc --format '{{.Names}} {{.Image}} {{.Command}}'
    """,
    "start, attach, wait": """
        create --name echo busybox sh -c 'echo out; echo err >&2; exit 4'
        start echo
        wait echo
        start -a echo
        logs echo
        start nosuch
        start echo nosuch
        wait echo nosuch
        wait nosuch
        create -i --name cat busybox cat
        start -ai cat <<< fed
        create --name absent busybox nosuch-command
        start absent
        inspect -f '{{.State.Status}} {{.State.ExitCode}}' absent
        start -a echo absent
        attach nosuch
        attach echo
        run -d --name long busybox sleep 100
        start long
        start @long@
        start @long:12@
        kill long
    """,
    "ps": """
        create --name one --label a=1 --label b=2 -p 8091:80 -p 127.0.0.1:8092:81/udp busybox echo one
        run -d --name two --label a=2 --expose 99 busybox sleep 100
        run --name three busybox sh -c 'exit 7'
        ps -q --no-trunc -a --filter name=nosuch
        ps --format '{{.Names}}'
        ps -a --format '{{.Names}}'
        ps -a --format '{{.ID}} {{.Image}} {{.Command}} {{.Names}} {{.Ports}}'
        ps -a --format '{{.Names}} {{.Status}}'
        ps -a --format '{{.Names}} {{.State}}'
        ps -a --format '{{.Names}} {{.RunningFor}}'
        ps -a --format '{{.Names}} {{.CreatedAt}}'
        ps -a --format '{{.Names}} [{{.Labels}}] {{.Label "a"}}'
        ps -a --format '{{.Names}} [{{.Mounts}}] [{{.Networks}}] {{.LocalVolumes}}'
        ps -a --format 'table {{.Names}}\\t{{.Command}}'
        ps -a --format 'table {{.Names}}\\t{{.Label "a"}}'
        ps -a --format '{{json .Names}}'
        ps -a --format '{{upper .Names}} {{len .Names}}'
        ps -a --format '{{.Nosuch}}'
        ps -a --format '{{.Names'
        ps -a
        ps
        ps -l
        ps -n 2
        ps -n 1 -q
        ps -aq --no-trunc
        ps -a --format '{{.Names}}' --filter status=exited
        ps -a --format '{{.Names}}' --filter status=created --filter status=running
        ps -a --format '{{.Names}}' --filter status=nosuch
        ps -a --format '{{.Names}}' --filter name=t
        ps -a --format '{{.Names}}' --filter name=^t..$
        ps -a --format '{{.Names}}' --filter label=a
        ps -a --format '{{.Names}}' --filter label=a=2
        ps -a --format '{{.Names}}' --filter label=a=1 --filter label=b=2
        ps -a --format '{{.Names}}' --filter exited=7
        ps -a --format '{{.Names}}' --filter exited=x
        ps -a --format '{{.Names}}' --filter ancestor=busybox
        ps -a --format '{{.Names}}' --filter ancestor=nosuch
        ps -a --format '{{.Names}}' --filter before=two
        ps -a --format '{{.Names}}' --filter since=one
        ps -a --format '{{.Names}}' --filter since=nosuch
        ps -a --format '{{.Names}}' --filter volume=/x
        ps -a --format '{{.Names}}' --filter network=bridge
        ps -a --format '{{.Names}}' --filter network=nosuch
        ps -a --format '{{.Names}}' --filter publish=8091
        ps -a --format '{{.Names}}' --filter publish=80
        ps -a --format '{{.Names}}' --filter expose=99
        ps -a --format '{{.Names}}' --filter expose=90-100/tcp
        ps -a --format '{{.Names}}' --filter health=none
        ps -a --format '{{.Names}}' --filter health=nosuch
        ps -a --format '{{.Names}}' --filter is-task=true
        ps -a --format '{{.Names}}' --filter is-task=x
        ps -a --format '{{.Names}}' --filter id=@two:6@
        ps -a --filter nosuch=1
        ps -a --filter nosuch
        ps extra
        container ls --format '{{.Names}}'
        container list -q --filter name=nosuch
    """,
    "published ports": """
        run -d --name web -p 8093:80 -p 127.0.0.1:8094:81 -p 8095:53/udp busybox sleep 100
        port web
        port web 80
        port web 80/tcp
        port web 53/udp
        port web 99
        port web abc
        port nosuch
        ps --format '{{.Ports}}'
        ps --format '{{.Names}}' --filter publish=8093
        ps --format '{{.Names}}' --filter publish=80
        ps --format '{{.Names}}' --filter expose=80
        run -d --name other -p 8093:80 busybox sleep 100
        inspect -f '{{.State.Status}}' other
        inspect -f '{{json .HostConfig.PortBindings}}' web
        inspect -f '{{json .NetworkSettings.Ports}}' other
        run -d --name range -p 8096-8097:90-91 busybox sleep 100
        port range
        kill web
        wait web
        port web
        ps -a --filter name=web --format '[{{.Ports}}]'
    """,
    "exec": """
        run -d --name box -e GIVEN=1 -w /tmp busybox sleep 100
        exec box echo hi
        exec box sh -c 'echo out; echo err >&2; exit 5'
        exec box pwd
        exec -w / box pwd
        exec -w /nosuch box pwd
        exec -e A=1 -e GIVEN=2 box sh -c 'echo $A $GIVEN'
        exec --env-file env box sh -c 'echo $FROM_FILE'
        exec box env
        exec -u 1000 box id
        exec -u daemon box id -un
        exec -u nosuch box id
        exec -i box cat <<< typed
        exec box cat <<< not-read
        exec -d box touch /tmp/made
        exec -t box tty
        exec box nosuch
        exec box /etc
        exec box ''
        exec nosuch true
        exec box
        exec
        exec --no-such-flag box true
        exec -it box true
        exec box sh -c 'kill -9 $$'
        exec -d box nosuch
        exec box grep CapEff /proc/self/status
        exec -u 1000 box grep CapEff /proc/self/status
        pause box
        exec box true
        unpause box
        kill box
        wait box
        exec box true
    """,
    "logs": """
        run --name talk busybox sh -c 'echo one; sleep 1; echo two >&2; sleep 1; echo three; printf four'
        logs talk
        logs -n 1 talk
        logs --tail 2 talk
        logs --tail 0 talk
        logs --tail all talk
        logs --tail -5 talk
        logs --tail x talk
        logs -t talk
        logs -f talk
        logs --details talk
        logs --since 1h talk
        logs --since 2000-01-01 --tail 1 talk
        logs --since 2100-01-01T00:00:00 talk
        logs --until 2000-01-01T00:00:00Z talk
        logs --until 1.5 talk
        logs --since nonsense talk
        logs --since -1h talk
        logs nosuch
        logs
        logs talk other
        create --name silent busybox true
        logs silent
        run --name labelled --log-opt labels=a --label a=1 --log-opt env=E -e E=2 busybox echo x
        logs --details labelled
        run --name none --log-driver none busybox echo x
        logs none
    """,
    "stop, kill, restart": """
        run -d --name obeys busybox sh -c 'trap "exit 9" TERM; while :; do sleep 0.05; done'
        run -d --name usr busybox sh -c 'trap "exit 8" USR1; while :; do sleep 0.05; done'
        run -d --name deaf --stop-signal USR2 busybox sh -c 'trap "" USR2; while :; do sleep 0.05; done'
        exec obeys sleep 2
        stop obeys
        wait obeys
        stop obeys
        inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}} [{{.State.Error}}]' obeys
        stop -t 1 deaf
        inspect -f '{{.State.ExitCode}}' deaf
        stop nosuch
        stop nosuch obeys
        stop -t x obeys
        kill -s USR1 usr
        wait usr
        kill usr
        kill nosuch
        kill -s NOSUCH usr
        kill -s 99 usr
        start usr
        kill -s NOSUCH usr
        kill -s 0 usr
        kill -s sigkill usr
        wait usr
        restart -t 1 usr
        inspect -f '{{.State.Running}}' usr
        kill -s 9 usr
        restart nosuch
        restart -s NOSUCH usr
        stop -s USR1 -t 1 usr
        container stop -t 0 deaf
    """,
    "pause": """
        run -d --name box busybox sleep 100
        pause box
        ps --format '{{.Status}}'
        inspect -f '{{.State.Status}} {{.State.Running}} {{.State.Paused}}' box
        pause box
        start box
        kill -s TERM box
        unpause box
        unpause box
        pause nosuch
        unpause nosuch
        create --name still busybox true
        pause still
        unpause still
        pause box nosuch
        rm box
        rm -f box
    """,
    "rm": """
        create --name one busybox true
        create --name two busybox true
        create --name three busybox true
        rm one
        rm one
        rm -f one
        rm nosuch two
        rm @three:12@
        run -d --name runs -v kept:/k -v /anonymous busybox sleep 100
        rm runs
        rm -f -v runs
        volume ls -q
        rm
        rm ''
        rm --no-such-flag x
        container rm nosuch
        container remove nosuch
        run --name ended busybox true
        rm --link ended
        container prune -f
        container prune --force
        container prune -f --filter nosuch=1
        container prune -f --filter until=nonsense
    """,
    "rename": """
        create --name one busybox true
        create --name two busybox true
        rename one two
        rename one one
        rename one ''
        rename one 'bad name'
        rename nosuch three
        rename one /four
        rename one
        ps -a --format '{{.Names}}'
        inspect -f '{{.Name}}' four
    """,
    "cp": """
        run --name box busybox sh -c 'mkdir -p /d/sub; echo inside > /d/file; ln -s file /d/link; echo x > /d/sub/deep'
        cp box:/d/file out-file
        cp box:/d/file -
        cp box:/nosuch .
        cp box:/d/file /nosuch/dir/file
        cp note.txt box:/d/
        cp note.txt box:/nosuch/
        cp note.txt box:/d/renamed
        cp nosuch box:/d/
        cp tree box:/d/tree
        cp tree box:/d/file
        cp tree/. box:/d/into
        cp note.txt nosuch:/
        cp nosuch:/x .
        cp box:/d box:/e
        cp a b
        cp - box:/nosuch <<< 'not a tar'
        cp - box:/d/file <<< 'not a tar'
        cp -q note.txt box:/d/quiet
        cp -L box:/d/link followed
        cp box:/d/link linked
        cp -a box:/d/sub kept
        cp box:/etc/hostname .
        start -a box
        cp box:/d/renamed -
    """,
    "diff": """
        run --name box busybox sh -c 'echo x > /etc/passwd; touch /made; rm /bin/sh; mkdir -p /a/b; touch /a/b/c'
        diff box
        create --name fresh busybox true
        diff fresh
        diff nosuch
        diff
        diff ''
    """,
    "commit": """
        run --name box -e A=1 busybox sh -c 'echo made > /made'
        commit box made:one
        commit -m message -a 'An Author' -c 'CMD ["cat", "/made"]' -c 'ENV B=2' -c 'LABEL l=v' box made:two
        run --rm made:two
        inspect -f '{{.Comment}} {{.Author}} {{json .Config.Cmd}} {{json .Config.Env}} {{json .Config.Labels}}' made:two
        commit box UPPER
        commit -c 'NOSUCH x' box
        commit -c 'RUN x' box
        commit nosuch
        commit
        commit --pause=false box made:three
        history --format '{{.CreatedBy}} [{{.Comment}}]' made:two
        images --format '{{.Repository}}:{{.Tag}}' made:two
        rmi made:one made:two made:three
    """,
    "images": """
        images
        images -q
        images --format '{{.Repository}} {{.Tag}} {{.ID}}'
        images --format '{{.CreatedAt}}'
        images --format '{{.Repository}} {{.Digest}}'
        images --format 'table {{.Repository}}\\t{{.Tag}}'
        images --format '{{.Nosuch}}'
        images --format '{{json .Repository}}'
        images --digests
        images --no-trunc --format '{{.ID}}'
        tag busybox other:v1
        tag busybox localhost:5000/deep/name:v2
        tag busybox other
        images --format '{{.Repository}}:{{.Tag}}'
        images other
        images other:v1 --format '{{.Tag}}'
        images 'o*' --format '{{.Tag}}'
        images nosuch
        images --filter reference='other:v*' --format '{{.Tag}}'
        images --filter dangling=true
        images --filter dangling=maybe
        images --filter label=nosuch
        images --filter before=other:v1
        images --filter since=nosuch
        images --filter nosuch=1
        image ls -q nosuch
        tag nosuch a
        tag busybox UPPER
        tag busybox a:b:c
        tag busybox
        rmi other:v1
        rmi other:v1
        rmi localhost:5000/deep/name:v2 other
        rmi nosuch
        rmi nosuch:tag busybox:nosuch
        rmi -f nosuch
        rmi
        create --name user busybox true
        rmi busybox
        tag busybox second
        rmi second
        history busybox --format '{{.CreatedBy}}'
        history nosuch
        history -q busybox
        history busybox
        image rm nosuch
        image prune -f
        image prune -f --filter nosuch=1
        image inspect nosuch
        image inspect -f '{{.Os}}/{{.Architecture}}' busybox nosuch
        image history
    """,
    "save, load, import, export": """
        save nosuch
        save -o /nosuch/dir/file busybox
        save
        load -i nosuch
        load <<< 'not an archive'
        load -q <<< 'not an archive'
        create --name box busybox true
        export -o /nosuch/dir/file box
        export nosuch
        export -o box.tar box
        import box.tar flat:one
        import -c 'CMD ["echo", "imported"]' -m 'a message' box.tar flat:two
        run --rm flat:two
        history flat:two --format '{{.Comment}}'
        import -c 'NOSUCH x' box.tar
        import box.tar UPPER
        import nosuch.tar
        save -o all.tar flat:two busybox
        rmi flat:two
        load -i all.tar
        load -q -i all.tar
        rmi flat:one flat:two
    """,
    "inspect --format": """
        create --name box --label x.y=z -e A=1 -v vol:/data -m 64m -p 8098:80 --entrypoint sh -w /tmp -u 5 busybox -c true
        inspect -f '{{.Name}}' box
        inspect -f '{{.Config.Image}} {{.Path}} {{.Args}}' box
        inspect -f '{{json .Config.Cmd}} {{json .Config.Entrypoint}}' box
        inspect -f '{{.Config.Env}}' box
        inspect -f '{{range .Config.Env}}{{println .}}{{end}}' box
        inspect -f '{{index .Config.Labels "x.y"}}' box
        inspect -f '{{json .Config.Labels}}' box
        inspect -f '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}' box
        inspect -f '{{.HostConfig.NetworkMode}} {{.HostConfig.RestartPolicy.Name}}' box
        inspect -f '{{json .HostConfig.Binds}} {{json .HostConfig.PortBindings}}' box
        inspect -f '{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}} {{.Driver}}{{end}}' box
        inspect -f '{{.State.Status}} {{.State.Pid}} {{.State.StartedAt}}' box
        inspect -f '{{.State}}' box
        inspect -f '{{.Config.User}} {{.Config.WorkingDir}} {{.Config.Tty}}' box
        inspect -f '{{with .Config}}{{.Image}}{{end}}' box
        inspect -f '{{if .State.Running}}yes{{else}}no{{end}}' box
        inspect -f '{{len .Config.Env}} {{len .Mounts}}' box
        inspect -f '{{.Id}}' box
        inspect -f '{{slice .Id 0 12}}' box
        inspect -f '{{printf "%s-%d" .Name .HostConfig.Memory}}' box
        inspect -f '{{join .Args ","}} {{upper .Name}} {{title "abc"}}' box
        inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}}{{end}}' box
        inspect -f '{{range $i, $e := .Config.Env}}{{$i}}={{$e}};{{end}}' box
        inspect -f '{{.Nosuch}}' box
        inspect -f '{{.Config.Nosuch}}' box
        inspect -f '{{.Name' box
        inspect -f '{{nosuch .Name}}' box
        inspect -f '{{index .Args 5}}' box
        inspect -f '{{.Name}}' nosuch
        inspect -f '{{.Name}}' box nosuch
        inspect nosuch
        inspect --type container busybox
        inspect --type image box
        inspect --type volume vol -f '{{.Name}} {{.Driver}} {{.Scope}}'
        inspect --type network bridge -f '{{.Name}} {{.Driver}} {{.Scope}}'
        inspect --type nosuch box
        inspect -f '{{.RepoTags}}' busybox
        inspect -s -f '{{.SizeRw}}' box
        inspect -f '{{.SizeRw}}' box
        container inspect -f '{{.Name}}' box
        container inspect nosuch
        container inspect busybox
        inspect
    """,
    "volume": """
        volume create mine
        volume create mine
        volume create --label a=1 --label b labelled
        volume create
        volume create -d nosuch other
        volume create 'bad name'
        volume create a
        volume create x y
        volume create -o nosuch=1 wrong
        volume ls
        volume ls -q --filter name=mine
        volume ls -q --filter label=a
        volume ls -q --filter label=a=2
        volume ls -q --filter driver=local
        volume ls -q --filter driver=nosuch
        volume ls -q --filter nosuch=1
        volume ls --filter name=labelled --format '{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}}'
        volume ls --filter name=mine --format '{{.Mountpoint}}'
        volume ls --filter name=mine --format json
        volume ls --format '{{.Nosuch}}'
        volume inspect mine
        volume inspect -f '{{.Name}} {{json .Labels}} {{json .Options}}' labelled
        volume inspect nosuch
        volume inspect mine nosuch -f '{{.Name}}'
        create --name user -v mine:/x busybox true
        volume ls -q --filter dangling=true --filter name=mine
        volume ls -q --filter dangling=false
        volume rm mine
        volume rm -f mine
        rm user
        volume rm mine
        volume rm mine
        volume rm -f mine
        volume rm labelled nosuch
        volume rm
        volume prune -f
        volume prune -f --filter nosuch=1
    """,
    "network": """
        network ls
        network ls --format '{{.Name}} {{.Driver}} {{.Scope}}'
        network ls -q --filter name=nosuch
        network ls --filter driver=bridge --format '{{.Name}}'
        network ls --filter driver=nosuch --format '{{.Name}}'
        network ls --filter name=o --format '{{.Name}}'
        network ls --filter type=builtin --format '{{.Name}}'
        network ls --filter type=custom --format '{{.Name}}'
        network ls --filter scope=local --format '{{.Name}}'
        network ls --filter scope=nosuch --format '{{.Name}}'
        network ls --filter nosuch=1
        network ls --format '{{.Nosuch}}'
        network ls extra
        network inspect -f '{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.Attachable}} {{.Ingress}} {{.EnableIPv6}}' bridge none host
        network inspect none
        network inspect nosuch
        network inspect bridge nosuch -f '{{.Name}}'
        network inspect
        network rm nosuch
        network rm bridge
        network create bridge
        network create -d nosuch mine
        network connect bridge nosuch
        network disconnect bridge nosuch
    """,
    "top": """
        run -d --name box busybox sh -c 'sleep 100; true'
        exec box sleep 2
        top box -o args
        top box -o pid,comm
        top box -o pid,nosuch
        top box
        top nosuch
        top
        create --name still busybox true
        top still
    """,
    "system and the rest": """
        nosuch
        container nosuch
        image nosuch
        ps --help extra
        version --format '{{.Nosuch}}'
        info --format '{{.Containers}} {{.ContainersRunning}} {{.ContainersStopped}} {{.Images}}'
        info --format '{{.OSType}} {{.Architecture}} {{.NCPU}} {{.MemTotal}}'
        info --format '{{.CgroupVersion}} {{.LoggingDriver}} {{.Driver}}'
        info --format '{{.Nosuch}}'
        system df --format '{{.Type}}'
        system df --format '{{.Type}} {{.TotalCount}} {{.Active}}'
        system prune -f
        system nosuch
        login -u a -p b 127.0.0.1:9
        logout 127.0.0.1:9
        pull 127.0.0.1:9/nosuch
        push nosuch
        push busybox:nosuch
        update nosuch
        update --memory 32m nosuch
        stats --no-stream nosuch
        stats --no-stream --format '{{.Name}}'
        events --since 2000-01-01 --until 2000-01-02
        events --filter nosuch=1 --until 2000-01-02
    """,
    "stats, events and prunes": """
        create --name made busybox true
        run -d --name live --network none busybox sleep 100
        stats --no-stream --format '{{.Name}} {{.PIDs}}' live
        stats --no-stream --format '{{.Name}}' made
        stats --no-stream -a --format '{{.Name}} {{.PIDs}}'
        stats --no-stream --format '{{.Name}}' live nosuch
        stats --no-stream --no-trunc --format '{{.Container}}' live
        events --since 2000-01-01 --until 2000-01-02 --filter type=container --filter event=die
        events --since nonsense --until 2000-01-02
        events --since 2000-01-01 --until nonsense
        events --filter nonsense
        system df --format '{{.Type}} {{.TotalCount}} {{.Active}}'
        system df --format '{{.Nosuch}}'
        system df extra
        system df -v --format json nosuch
        image prune -f --filter label=nosuch
        image prune -f --filter until=nonsense
        image prune -a -f --filter until=876000h
        volume create --label keep=yes kept
        volume prune -f --filter label=nosuch
        volume prune -f --filter until=24h
        container prune -f --filter label=nosuch
        container prune -f --filter until=10m --filter until=5m
        container prune -f --filter label!=nosuch
        image prune extra
        volume prune extra
        system prune extra
        system prune -f --volumes --filter until=24h
        system prune -f --filter nosuch=1
        system prune -f --filter label=nosuch
        volume rm kept
        rm -f live
    """,
    "manifest": """
        manifest create one
        manifest create ONE two
        manifest inspect
        manifest inspect ONE
        manifest inspect one two
        manifest inspect one two three
        manifest annotate one two
        manifest annotate one TWO
        manifest annotate one
        manifest push one
        manifest push ONE
        manifest push
        manifest rm one two
        manifest rm
    """,
}
