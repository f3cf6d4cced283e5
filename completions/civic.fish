# fish completion for civic
set -g __civic_valued --system-data --config --database --output --log-format --progress --color --folder --by --folder --search --type --provider --sort --page --limit --folder --from-list --concurrency --description --uploaded-by --out --provider --folder --kind --min-age --max-delete --repair --override --explain --limit --update --provider-type --path --bucket --region --endpoint --prefix --path --access --allowed-types --max-size --description --quota --path --access --allowed-types --max-size --description --quota --out
set -g __civic_commands storage:usage storage:list storage:info storage:upload storage:download storage:cleanup storage:runs storage:config storage:init storage:folder:add storage:folder:update storage:folder:remove completions man

# The command typed so far, joined by ':'; a first line says whether it is whole.
function __civic_command
    set -l tokens (commandline -opc)
    set -l stem ''
    set -l skip 0
    for word in $tokens[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        if string match -q -- '-*' $word
            contains -- $word $__civic_valued; and set skip 1
            continue
        end
        test -n $stem; and set stem $stem:$word; or set stem $word
        if contains -- $stem $__civic_commands
            echo whole:$stem
            return
        end
    end
    echo stem:$stem
end

complete -c civic -f
complete -c civic -n 'test (__civic_command) = stem:' -a 'storage:usage' -d 'Shows how much is stored: in all, by folder, by provider'
complete -c civic -n 'test (__civic_command) = stem:' -a 'storage:list' -d 'Lists files'
complete -c civic -n 'test (__civic_command) = stem:' -a 'storage:info' -d 'Shows one file: its record, its object, its provider'
complete -c civic -n 'test (__civic_command) = stem:' -a 'storage:upload' -d 'Stores files in a folder: one, many, or what is below directories'
complete -c civic -n 'test (__civic_command) = stem:' -a 'storage:download' -d 'Fetches files by id or by folder and name'
complete -c civic -n 'test (__civic_command) = stem:' -a 'storage:cleanup' -d 'Finds objects without a record, records without an object, and sizes that differ. Changes nothing without --apply'
complete -c civic -n 'test (__civic_command) = stem:' -a 'storage:runs' -d 'Shows what ran: when, by whom, and what it changed'
complete -c civic -n 'test (__civic_command) = stem:' -a 'storage:config' -d 'Shows the configuration, every default filled in, with where each value came from'
complete -c civic -n 'test (__civic_command) = stem:' -a 'storage:init' -d 'Makes a first storage.yml and the database'
complete -c civic -n 'test (__civic_command) = stem:' -a 'storage:folder:add' -d 'Adds a folder to storage.yml'
complete -c civic -n 'test (__civic_command) = stem:' -a 'storage:folder:update' -d 'Changes a folder in storage.yml'
complete -c civic -n 'test (__civic_command) = stem:' -a 'storage:folder:remove' -d 'Removes a folder from storage.yml'
complete -c civic -n 'test (__civic_command) = stem:' -a 'completions' -d 'Prints a completion script for a shell'
complete -c civic -n 'test (__civic_command) = stem:' -a 'man' -d 'Prints a manual page'
complete -c civic -n 'test (__civic_command) = stem:' -a 'storage' -d 'storage commands'
complete -c civic -n 'test (__civic_command) = stem:storage' -a 'usage' -d 'Shows how much is stored: in all, by folder, by provider'
complete -c civic -n 'test (__civic_command) = stem:storage' -a 'list' -d 'Lists files'
complete -c civic -n 'test (__civic_command) = stem:storage' -a 'info' -d 'Shows one file: its record, its object, its provider'
complete -c civic -n 'test (__civic_command) = stem:storage' -a 'upload' -d 'Stores files in a folder: one, many, or what is below directories'
complete -c civic -n 'test (__civic_command) = stem:storage' -a 'download' -d 'Fetches files by id or by folder and name'
complete -c civic -n 'test (__civic_command) = stem:storage' -a 'cleanup' -d 'Finds objects without a record, records without an object, and sizes that differ. Changes nothing without --apply'
complete -c civic -n 'test (__civic_command) = stem:storage' -a 'runs' -d 'Shows what ran: when, by whom, and what it changed'
complete -c civic -n 'test (__civic_command) = stem:storage' -a 'config' -d 'Shows the configuration, every default filled in, with where each value came from'
complete -c civic -n 'test (__civic_command) = stem:storage' -a 'init' -d 'Makes a first storage.yml and the database'
complete -c civic -n 'test (__civic_command) = stem:storage' -a 'folder' -d 'folder commands'
complete -c civic -n 'test (__civic_command) = stem:storage:folder' -a 'add' -d 'Adds a folder to storage.yml'
complete -c civic -n 'test (__civic_command) = stem:storage:folder' -a 'update' -d 'Changes a folder in storage.yml'
complete -c civic -n 'test (__civic_command) = stem:storage:folder' -a 'remove' -d 'Removes a folder from storage.yml'
complete -c civic -l system-data -r -F -d 'Directory that CivicPress keeps its data in [env: CIVIC_SYSTEM_DATA] [default: .system-data here or in a parent]'
complete -c civic -l config -r -F -d 'Configuration file [env: CIVIC_STORAGE_CONFIG] [default: storage.yml in the system-data directory, else here]'
complete -c civic -l database -x -d 'Metadata database, sqlite:PATH or postgres://… [env: CIVIC_DATABASE_URL] [default: what .civicrc names, else civic.db in the system-data directory]'
complete -c civic -l output -x -a 'table json ndjson csv' -d 'How the answer is written'
complete -c civic -l json -d 'Short for --output json'
complete -c civic -l silent -d 'Print errors only, and answers in a format made for programs'
complete -c civic -l verbose -s v -d 'Tell what is being done; -vv tells every step'
complete -c civic -l log-format -x -a 'text json' -d 'How log lines on stderr look'
complete -c civic -l no-progress -d 'Show no progress'
complete -c civic -l progress -x -a 'json' -d 'Show progress as JSON lines on stderr'
complete -c civic -l color -x -a 'auto always never' -d 'When to use colour; NO_COLOR is honoured'
complete -c civic -l yes -s y -d 'Answer every question with yes'
complete -c civic -l help -s h -d 'Print help (see more with \'--help\')'
complete -c civic -l version -s V -d 'Print version'
complete -c civic -n 'test (__civic_command) = whole:storage:usage' -l folder -x -d 'Count this folder only'
complete -c civic -n 'test (__civic_command) = whole:storage:usage' -l by -x -a 'folder provider type month uploader' -d 'Count by these'
complete -c civic -n 'test (__civic_command) = whole:storage:list' -l folder -x -d 'Files of this folder only'
complete -c civic -n 'test (__civic_command) = whole:storage:list' -l search -x -d 'Files whose name, description or id contains this, in upper or lower case'
complete -c civic -n 'test (__civic_command) = whole:storage:list' -l type -x -d 'Files of this MIME type (`image/png`, `image`) or extension (`pdf`)'
complete -c civic -n 'test (__civic_command) = whole:storage:list' -l provider -x -d 'Files of this provider only'
complete -c civic -n 'test (__civic_command) = whole:storage:list' -l sort -x -a 'created updated name size folder type' -d 'Order; times and sizes begin with the newest and largest'
complete -c civic -n 'test (__civic_command) = whole:storage:list' -l reverse -d 'The other way round'
complete -c civic -n 'test (__civic_command) = whole:storage:list' -l page -x -d 'Page to show'
complete -c civic -n 'test (__civic_command) = whole:storage:list' -l limit -x -d 'Files on a page'
complete -c civic -n 'test (__civic_command) = whole:storage:upload' -l folder -x -d 'Folder of storage.yml to store them in'
complete -c civic -n 'test (__civic_command) = whole:storage:upload' -l recursive -s r -d 'Take every file below a directory, hidden ones included; symlinks in it are not followed'
complete -c civic -n 'test (__civic_command) = whole:storage:upload' -l from-list -r -F -d 'Read paths from a file, one a line; - is standard input'
complete -c civic -n 'test (__civic_command) = whole:storage:upload' -l concurrency -x -d 'Files under way at once [default: global.max_concurrent_uploads]'
complete -c civic -n 'test (__civic_command) = whole:storage:upload' -l skip-existing -d 'Leave out files that the folder has already, by name, size and content'
complete -c civic -n 'test (__civic_command) = whole:storage:upload' -l description -x -d 'Say this of every file'
complete -c civic -n 'test (__civic_command) = whole:storage:upload' -l uploaded-by -x -d 'Who uploads, as the records will name them'
complete -c civic -n 'test (__civic_command) = whole:storage:upload' -l dry-run -d 'Only check, and say what would be stored'
complete -c civic -n 'test (__civic_command) = whole:storage:upload' -F
complete -c civic -n 'test (__civic_command) = whole:storage:download' -l out -r -F -d 'A file or directory to write to, made where several are fetched; - is standard output, for one file [default: the working directory, under the original names]'
complete -c civic -n 'test (__civic_command) = whole:storage:download' -l force -d 'Replace files that exist'
complete -c civic -n 'test (__civic_command) = whole:storage:cleanup' -l dry-run -d 'Only look and report; the default'
complete -c civic -n 'test (__civic_command) = whole:storage:cleanup' -l apply -d 'Move orphaned objects to the trash and take orphaned records out, after a question; storage:undo brings both back'
complete -c civic -n 'test (__civic_command) = whole:storage:cleanup' -l provider -x -d 'Look at this provider only; may be given several times'
complete -c civic -n 'test (__civic_command) = whole:storage:cleanup' -l folder -x -d 'Look at this folder only'
complete -c civic -n 'test (__civic_command) = whole:storage:cleanup' -l kind -x -a 'orphaned-objects orphaned-records mismatches misplaced foreign unmapped sidecars' -d 'Report these findings item by item; with --apply, act on these only'
complete -c civic -n 'test (__civic_command) = whole:storage:cleanup' -l min-age -x -d 'Leave alone what is younger than this (`24h`, `30d`; 0 looks at everything)'
complete -c civic -n 'test (__civic_command) = whole:storage:cleanup' -l max-delete -x -d 'Refuse where more than this would go from one provider: a number, or a share of what it holds (`50`, `20%`) [default: max_delete_count and max_delete_percent of storage.yml]'
complete -c civic -n 'test (__civic_command) = whole:storage:cleanup' -l repair -x -a 'sizes' -d 'With --apply, set recorded sizes to what is there'
complete -c civic -n 'test (__civic_command) = whole:storage:cleanup' -l override -x -d 'With --apply, go on although this safety rule speaks; may be given several times'
complete -c civic -n 'test (__civic_command) = whole:storage:cleanup' -l purge -d 'With --apply, delete objects for good instead of moving them to the trash'
complete -c civic -n 'test (__civic_command) = whole:storage:cleanup' -l explain -x -d 'Tell of one record or object, by id, key or path, why it is a finding or is none'
complete -c civic -n 'test (__civic_command) = whole:storage:cleanup' -l fail-on-findings -d 'Exit with 4 where anything was found'
complete -c civic -n 'test (__civic_command) = whole:storage:runs' -l limit -x -d 'Runs to show, newest first; or steps, of one run'
complete -c civic -n 'test (__civic_command) = whole:storage:config' -l validate -d 'Check only, and tell all that is wrong'
complete -c civic -n 'test (__civic_command) = whole:storage:config' -l strict -d 'With --validate: warnings are errors'
complete -c civic -n 'test (__civic_command) = whole:storage:config' -l schema -d 'Print the JSON Schema of storage.yml, for editors'
complete -c civic -n 'test (__civic_command) = whole:storage:config' -l update -x -d 'Change storage.yml, for example global.max_file_size=250MB; may be given several'
complete -c civic -n 'test (__civic_command) = whole:storage:config' -l dry-run -d 'With --update: show what would change'
complete -c civic -n 'test (__civic_command) = whole:storage:init' -l provider-type -x -a 'local s3' -d 'Where files are kept'
complete -c civic -n 'test (__civic_command) = whole:storage:init' -l path -r -F -d 'local: the directory'
complete -c civic -n 'test (__civic_command) = whole:storage:init' -l bucket -x -d 's3: the bucket'
complete -c civic -n 'test (__civic_command) = whole:storage:init' -l region -x -d 's3: the region'
complete -c civic -n 'test (__civic_command) = whole:storage:init' -l endpoint -x -d 's3: the service\'s URL, where it is not AWS'
complete -c civic -n 'test (__civic_command) = whole:storage:init' -l prefix -x -d 's3: what every key begins with'
complete -c civic -n 'test (__civic_command) = whole:storage:init' -l dry-run -d 'Show what would be made'
complete -c civic -n 'test (__civic_command) = whole:storage:folder:add' -l path -x -d 'Path below the provider\'s root'
complete -c civic -n 'test (__civic_command) = whole:storage:folder:add' -l access -x -a 'public authenticated private' -d 'Who may read its files'
complete -c civic -n 'test (__civic_command) = whole:storage:folder:add' -l allowed-types -x -d 'Extensions it takes, separated by commas; "*" is any'
complete -c civic -n 'test (__civic_command) = whole:storage:folder:add' -l max-size -x -d 'Size of the largest file, like 10MB'
complete -c civic -n 'test (__civic_command) = whole:storage:folder:add' -l description -x -d 'What it is for'
complete -c civic -n 'test (__civic_command) = whole:storage:folder:add' -l quota -x -d 'Size of all its files together, like 5GB; 0 is no limit'
complete -c civic -n 'test (__civic_command) = whole:storage:folder:add' -l dry-run -d 'Show what would change'
complete -c civic -n 'test (__civic_command) = whole:storage:folder:update' -l path -x -d 'Path below the provider\'s root'
complete -c civic -n 'test (__civic_command) = whole:storage:folder:update' -l access -x -a 'public authenticated private' -d 'Who may read its files'
complete -c civic -n 'test (__civic_command) = whole:storage:folder:update' -l allowed-types -x -d 'Extensions it takes, separated by commas; "*" is any'
complete -c civic -n 'test (__civic_command) = whole:storage:folder:update' -l max-size -x -d 'Size of the largest file, like 10MB'
complete -c civic -n 'test (__civic_command) = whole:storage:folder:update' -l description -x -d 'What it is for'
complete -c civic -n 'test (__civic_command) = whole:storage:folder:update' -l quota -x -d 'Size of all its files together, like 5GB; 0 is no limit'
complete -c civic -n 'test (__civic_command) = whole:storage:folder:update' -l dry-run -d 'Show what would change'
complete -c civic -n 'test (__civic_command) = whole:storage:folder:remove' -l dry-run -d 'Show what would change'
complete -c civic -n 'test (__civic_command) = whole:completions' -a 'bash zsh fish'
complete -c civic -n 'test (__civic_command) = whole:man' -l out -x -a '(__fish_complete_directories)' -d 'Write all pages into this directory instead'
