#!/bin/sh
# sync: the packages of the lock file, through the cache, into .venv; install: a program
set -e
venv=/app/.venv cache=/root/.cache/tool
mkdir -p $venv/bin $venv/lib
case $1 in
sync)
    while read -r name digest; do
        test -e $cache/$digest || cp /packages/$name $cache/$digest
        echo "$digest  $cache/$digest" | sha256sum -c -s
        test "$TOOL_LINK_MODE" = copy && cp $cache/$digest $venv/lib/$name
    done < tool.lock
    ;;
install) cp $2/main $venv/bin/ && chmod 755 $venv/bin/main ;;
esac
