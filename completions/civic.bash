# bash completion for civic
_civic() {
    # bash splits words at ':' and '=': take the line apart at blanks only
    local line=${COMP_LINE:0:COMP_POINT}
    local -a words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    local cur=${words[${#words[@]} - 1]} prev="" stem="" command="" i word
    local skip=0
    local valued=' --access --account-name --allowed-types --as-of --bucket --by --color --concurrency --config --container-name --database --description --endpoint --explain --file --folder --format --from --from-list --kind --limit --log-format --max-delete --max-size --min-age --older-than --operation --out --output --override --page --path --plan --plan-max-age --policy --prefix --progress --provider --provider-type --quota --range --region --repair --sample --search --since --sort --system-data --to --type --update --uploaded-by --watch '
    local commands=' storage:usage storage:quota storage:metrics storage:list storage:info storage:upload storage:download storage:health storage:cleanup storage:verify storage:reconstruct storage:lifecycle storage:runs storage:update storage:migrate storage:move storage:delete storage:trash storage:undo storage:config storage:init storage:folder:add storage:folder:update storage:folder:remove completions man '
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        word=${words[i]}
        if ((skip)); then skip=0; continue; fi
        case $word in
            -*) case $valued in *" $word "*) skip=1 ;; esac ;;
            *) if [[ -z $command ]]; then
                   stem=${stem:+$stem:}$word
                   case $commands in *" $stem "*) command=$stem ;; esac
               fi ;;
        esac
    done
    ((${#words[@]} > 2)) && prev=${words[${#words[@]} - 2]}
    local lead=""
    if [[ $cur == --*=* ]]; then
        prev=${cur%%=*} lead=$prev= cur=${cur#*=}
    fi
    local IFS=$'\n'
    COMPREPLY=()
    if ((skip)) || [[ -n $lead ]]; then
        case "$command $prev" in
            *\ --system-data) compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")) ;;
            *\ --config) compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")) ;;
            *\ --output) COMPREPLY=($(compgen -W $'table\njson\nndjson\ncsv' -- "$cur")) ;;
            *\ --log-format) COMPREPLY=($(compgen -W $'text\njson' -- "$cur")) ;;
            *\ --progress) COMPREPLY=($(compgen -W $'json' -- "$cur")) ;;
            *\ --color) COMPREPLY=($(compgen -W $'auto\nalways\nnever' -- "$cur")) ;;
            storage:usage\ --by) COMPREPLY=($(compgen -W $'folder\nprovider\ntype\nmonth\nuploader' -- "$cur")) ;;
            storage:metrics\ --format) COMPREPLY=($(compgen -W $'table\njson\nprometheus' -- "$cur")) ;;
            storage:list\ --sort) COMPREPLY=($(compgen -W $'created\nupdated\nname\nsize\nfolder\ntype' -- "$cur")) ;;
            storage:upload\ --from-list) compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")) ;;
            storage:download\ --out) compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")) ;;
            storage:cleanup\ --kind) COMPREPLY=($(compgen -W $'orphaned-objects\norphaned-records\nmismatches\nmisplaced\nforeign\nunmapped\nsidecars\nmultipart' -- "$cur")) ;;
            storage:cleanup\ --plan) compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")) ;;
            storage:cleanup\ --repair) COMPREPLY=($(compgen -W $'sizes' -- "$cur")) ;;
            storage:reconstruct\ --override) COMPREPLY=($(compgen -W $'ownership' -- "$cur")) ;;
            storage:update\ --override) COMPREPLY=($(compgen -W $'ownership' -- "$cur")) ;;
            storage:migrate\ --override) COMPREPLY=($(compgen -W $'ownership' -- "$cur")) ;;
            storage:move\ --override) COMPREPLY=($(compgen -W $'ownership' -- "$cur")) ;;
            storage:delete\ --override) COMPREPLY=($(compgen -W $'ownership' -- "$cur")) ;;
            storage:trash\ --override) COMPREPLY=($(compgen -W $'ownership' -- "$cur")) ;;
            storage:undo\ --override) COMPREPLY=($(compgen -W $'ownership' -- "$cur")) ;;
            storage:init\ --provider-type) COMPREPLY=($(compgen -W $'local\ns3\nazure\ngcs' -- "$cur")) ;;
            storage:init\ --path) compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")) ;;
            storage:init\ --override) COMPREPLY=($(compgen -W $'ownership' -- "$cur")) ;;
            storage:folder:add\ --access) COMPREPLY=($(compgen -W $'public\nauthenticated\nprivate' -- "$cur")) ;;
            storage:folder:update\ --access) COMPREPLY=($(compgen -W $'public\nauthenticated\nprivate' -- "$cur")) ;;
            man\ --out) compopt -o filenames; COMPREPLY=($(compgen -d -- "$cur")) ;;
        esac
        return
    fi
    case $command in
        '') if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else case $stem in '') COMPREPLY=($(compgen -W $'completions\nman\nstorage\nstorage:cleanup\nstorage:config\nstorage:delete\nstorage:download\nstorage:folder:add\nstorage:folder:remove\nstorage:folder:update\nstorage:health\nstorage:info\nstorage:init\nstorage:lifecycle\nstorage:list\nstorage:metrics\nstorage:migrate\nstorage:move\nstorage:quota\nstorage:reconstruct\nstorage:runs\nstorage:trash\nstorage:undo\nstorage:update\nstorage:upload\nstorage:usage\nstorage:verify' -- "$cur")) ;; storage) COMPREPLY=($(compgen -W $'usage\nquota\nmetrics\nlist\ninfo\nupload\ndownload\nhealth\ncleanup\nverify\nreconstruct\nlifecycle\nruns\nupdate\nmigrate\nmove\ndelete\ntrash\nundo\nconfig\ninit\nfolder' -- "$cur")) ;; storage:folder) COMPREPLY=($(compgen -W $'add\nupdate\nremove' -- "$cur")) ;; esac; fi ;;
        storage:usage) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--folder\n--by\n--refresh\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:quota) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:metrics) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--format\n--reset\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:list) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--folder\n--search\n--type\n--provider\n--sort\n--reverse\n--page\n--limit\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:info) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:upload) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--folder\n--recursive\n--from-list\n--concurrency\n--skip-existing\n--atomic\n--description\n--uploaded-by\n--dry-run\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")); fi ;;
        storage:download) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--from-list\n--out\n--force\n--range\n--resume\n--concurrency\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:health) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--refresh\n--watch\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:cleanup) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--dry-run\n--apply\n--provider\n--folder\n--kind\n--min-age\n--max-delete\n--plan\n--plan-max-age\n--repair\n--override\n--purge\n--explain\n--fail-on-findings\n--skip-if-locked\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:verify) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--checksum\n--folder\n--provider\n--sample\n--concurrency\n--resume\n--fail-on-findings\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:reconstruct) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--provider\n--folder\n--concurrency\n--min-age\n--create\n--dry-run\n--skip-if-locked\n--override\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:lifecycle) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--check\n--apply\n--folder\n--policy\n--as-of\n--max-delete\n--override\n--skip-if-locked\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:runs) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--limit\n--operation\n--since\n--failed\n--fail-on-findings\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:update) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--description\n--dry-run\n--override\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:migrate) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--from\n--to\n--folder\n--rebase\n--concurrency\n--dry-run\n--skip-if-locked\n--override\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:move) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--folder\n--from-list\n--concurrency\n--dry-run\n--override\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:delete) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--folder\n--file\n--from-list\n--concurrency\n--purge\n--dry-run\n--override\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:trash) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--older-than\n--dry-run\n--override\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else COMPREPLY=($(compgen -W $'list\nrestore\nempty' -- "$cur")); fi ;;
        storage:undo) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--dry-run\n--override\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:config) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--validate\n--strict\n--schema\n--update\n--dry-run\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:init) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--provider-type\n--path\n--bucket\n--account-name\n--container-name\n--region\n--endpoint\n--prefix\n--dry-run\n--override\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:folder:add) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--path\n--access\n--allowed-types\n--max-size\n--description\n--quota\n--dry-run\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:folder:update) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--path\n--access\n--allowed-types\n--max-size\n--description\n--quota\n--dry-run\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        storage:folder:remove) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--dry-run\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
        completions) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else COMPREPLY=($(compgen -W $'bash\nzsh\nfish' -- "$cur")); fi ;;
        man) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W $'--out\n--system-data\n--config\n--database\n--output\n--json\n--silent\n--verbose\n--log-format\n--no-progress\n--progress\n--color\n--yes\n--help\n--version' -- "$cur")); else :; fi ;;
    esac
    # bash replaces only what stands behind the last ':' of the word
    if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then
        local behind=${cur%"${cur##*:}"}
        COMPREPLY=("${COMPREPLY[@]#"$behind"}")
    fi
}
complete -F _civic civic
