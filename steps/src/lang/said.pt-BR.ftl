# O que as etapas dizem enquanto trabalham e por que falham. O inglês está em `#[error("…")]`, ao lado de cada tipo: a chave é o nome do
# tipo e da variante, e os valores são os campos dela; um teste compara. Uma variante que só repassa outra (`transparent`) não tem mensagem.

## A execução de uma etapa
begin-inputs = as entradas de `{ $kind }` não servem: { $error }
begin-when = não foi possível decidir `when`: { $error }
input = { $path }{ $source }
output = não foi possível guardar os resultados: { $source }
stopped = parada conforme solicitado
record-no-json = não foi possível registrar `{ $name }`: { $source }
record-unwritten = não foi possível gravar o diário; por isso nada mais é feito
attempt-left-running = não foi possível encerrar o que uma tentativa anterior deixou funcionando: { $failure }
attempt-timed-out = demorou mais do que o limite de { $timeout }
attempt-did-not-stop = não parou quando solicitado; por isso a execução fica como está
attempt-probe-cannot-be-asked = não foi possível fazer o `probe`: { $failure }
attempt-panicked = o almaplan tem um defeito: a etapa parou de repente ({ $panic ->
    [none] sem dizer nada
   *[other] { $panic }
})
panic = um defeito desse tipo de etapa a encerrou: { $panic }
interrupted = foi interrompida
written-off = ficou como está
host-not-supported = { $source }
failure = { $message }

## Modelos
template-fault-not-plain = aqui só pode haver texto simples
template-fault-braces = é uma expressão, que se escreve sem `{"{{"}` e `{"}}"}`
template-fault-names-a-value = ele dá nome a um valor, e modelos só dão nome ao que percorrem com `for`
template-fault-vague = depois de `{ $value }` falta o nome do que se quer
template-fault-unknown-tool = não existe { $tool } `{ $name }`
template-fault-parser = { $value }
tool-filter = o filtro
tool-test = o teste
tool-function = a função
template-syntax = não foi possível ler `{ $template }`: { $fault }
template-undefined = `{ $template }` precisa de `{ $name }`, que não está definido
template-null = `{ $template }` precisa de `{ $name }`, que é nulo; diga o que usar no lugar com `| default("…")`
template-too-much = `{ $template }` trabalha mais do que um modelo pode
template-failed = não foi possível calcular `{ $template }`: { $detail }
template-unfit = não foi possível calcular `{ $template }`: { $what }
unfit-number = o número é grande demais
unfit-list = a lista não pode ser lida
unfit-table = a tabela não pode ser lida
unfit-name = uma tabela tem um nome que não é texto
unfit-undefined = algo nela não está definido
unfit-value = o resultado não é um valor que uma entrada aceite

## Arquivos
blocking-failed = { $value }
blocking-disk-full = { $value }; libere espaço nesse disco e tente de novo
file-io = não foi possível { $doing } { $path }: { $source }
file-held = não foi possível { $doing } { $path }: outro processo o mantém aberto{ $holders ->
    [none] {""}
   *[other] {" "}({ $holders })
}; encerre-o e tente de novo
file-stopped = parada conforme solicitado
file-journal = { $value }
file-record = não foi possível entender o registro `{ $name }`: { $source }
file-not-utf8 = o nome de { $path } não é UTF-8 válido; dê a ele outro nome ou exclua-o da versão
file-link = não foi possível seguir { $path }: { $reason }
file-bad-copy = a cópia { $to } não é igual a { $from } quando lida de volta; verifique o disco
file-changing = { $path } muda enquanto é lido; pare quem o grava ou exclua-o
file-mounted = há um volume montado em { $mount }: { $path } não é movido nem removido; desmonte-o ou monte-o em outro lugar
file-names = estes nomes não podem fazer parte de uma versão, pois outros sistemas os entenderiam de outro modo; dê a eles outros nomes ou exclua-os: { $names }
file-pattern = `{ $pattern }` não é um padrão ({ $reason })
first-of-all = { $names }
first-of-some = { $names } e mais { $more }
file-note-not-kept = o sistema não deixou que estes mantivessem o dono ou os atributos: { $paths }
file-note-disappeared = { $path } desapareceu antes de ser copiado
prune-note-stays = { $path } fica: { $why }
in-use-link = o link { $link } leva até ele
in-use-by = em uso por { $users }
outside-given = {""}
outside-state = {" "}(onde esta execução guarda o estado)
outside-current-folder = {" "}(a pasta atual: inicie o almaplan em outra)
swap-mount = { $value } é a raiz de uma unidade ou de um volume montado: nada pode ser criado ao lado; implante em uma pasta dentro dela
swap-parent = não é permitido gravar em { $parent } ({ $source }); por isso nada pode ser criado ao lado de { $target }; dê essa permissão a este usuário
swap-inside = { $inner }{ $what } está dentro de { $target }, que será trocada; tire-a de lá
swap-mount-inside = há um volume montado em { $mount }, dentro de { $target }, que será trocada; monte-o fora dela e faça um link levar até ele
swap-not-a-folder = { $value } não é uma pasta
swap-io = não foi possível consultar { $path }: { $source }
env-file-unreadable = não foi possível usar o `env_file` { $file }: { $source }
env-file-no-text = não foi possível usar o `env_file` { $file }: ele não está em UTF-8 nem em UTF-16; salve-o em UTF-8
env-file-no-variable = não foi possível usar o `env_file` { $file }: a linha { $line } não é NOME=valor

## O que se tentou fazer com um arquivo, depois de "não foi possível"
doing-archive = arquivar
doing-become-its-owner-to-read = tornar-se dono para ler
doing-compress = comprimir
doing-create = criar
doing-create-the-link = criar o link
doing-look-at = consultar
doing-open = abrir
doing-open-the-folder = abrir a pasta
doing-open-the-folder-of = abrir a pasta de
doing-read = ler
doing-read-the-attributes-of = ler os atributos de
doing-read-the-folder = ler a pasta
doing-read-the-link = ler o link
doing-remove = remover
doing-rename = renomear
doing-replace = substituir
doing-set-the-permissions-of = definir as permissões de
doing-set-the-time-of = definir a data de
doing-sync = gravar no disco
doing-sync-the-folder-of = gravar no disco a pasta de
doing-write = gravar
doing-write-in = gravar em

## Arquivos compactados, backup e restauração
archive-missing = o arquivo de backup { $value } não está lá; devolva-o e depois execute `almaplan resume`
archive-not-ours = o arquivo de backup { $path } não é o que esta execução criou: o SHA-256 dele é { $found }, e o registrado é { $recorded }; devolva o certo e depois execute `almaplan resume`
archive-io = não foi possível { $doing } o arquivo de backup { $path }: { $source }
archive-damaged = o arquivo de backup { $path } está danificado ({ $reason }); use outro
archive-hostile = o arquivo de backup { $path } foi recusado: entrada `{ $entry }`: { $reason }
backup-level = `level` é { $value }; vai de 0 a 9
backup-keep = `keep` é 0, o que removeria o próprio backup; mantenha pelo menos 1
backup-no-name = { $value } não dá nome a um arquivo
backup-folder = { $value } é uma pasta; `archive` tem de dar nome a um arquivo
backup-no-folder = { $value } não é uma pasta
backup-inside = o arquivo { $archive } ficaria dentro de { $folder }, a pasta que ele salva; coloque-o em outro lugar
backup-note-not-pruned = nem todos os backups antigos foram removidos: { $error }
backup-note-other-name = { $asked } é necessário para desfazer outra execução e fica; o backup é { $archive }. Ponha `{"{{"} run.timestamp {"}}"}` no nome de `archive`
backup-note-not-kept = uma restauração não traria de volta tudo o que estes têm além do conteúdo: { $names }
backup-note-unsteady = mudaram ou desapareceram enquanto o backup os lia; estão nele como foram lidos por último: { $names }
backup-note-no-file = { $path } não é arquivo nem pasta: fica fora do backup
backup-note-mount = { $path } é onde há um volume montado, que também não é alterado: fica fora do backup
snapshot-database = não foi possível copiar o banco de dados { $path } pelo SQLite: { $source }; outro programa o mantém travado há muito tempo?
recovery-root = { $value } é uma raiz: nada pode ficar ao lado
recovery-no-folder = { $value } não é uma pasta
recovery-archive-inside = o arquivo de backup { $archive } está dentro de { $to }, que será substituída; tire-o de lá e depois execute `almaplan resume`
recovery-failed-inside = `keep_failed_as` é { $failed }: tem de ficar ao lado de { $to }
recovery-no-space = a pasta restaurada precisa de { BYTES($needed) } ao lado dela, em { $parent }, onde há { BYTES($free) } livres; libere espaço e depois execute `almaplan resume`
recovery-no-kept-data = os dados guardados na parada não estão em { $value }; devolva-os e depois execute `almaplan resume`
recovery-contents = não foi possível entender { $path }, que lista o que é restaurado: { $source }
recovery-note-guessed = { $to } não tem manifesto; por isso se adivinha o que são dados e o que é código: o que existe nos dois vem do backup, exceto bancos de dados e registros
recovery-note-no-kept-data = esta execução não guardou dados na parada (`keep_data` de `sync`): ficam os dados como estão agora
recovery-note-no-mark = não foi possível gravar { $at }: { $source }
recovery-note-in-place = { $because }; o conteúdo é copiado para { $failed }, e o backup é restaurado no mesmo lugar
recovery-note-taken = { $path } não é mantido: a versão restaurada tem outra coisa no lugar dele
recovery-note-no-file = { $path } não é mantido: não é arquivo nem pasta
recovery-note-mount = { $path } não é mantido: há um volume montado ali, e ele fica

## Versões: stage e sync
release-manifest = não foi possível entender { $path }: { $source }; se estiver danificado, apague-o: a próxima implantação então não apaga nada
release-origin = informe `from` ou `staged`, um dos dois
release-no-source = a origem { $value } não é uma pasta; verifique `from`
release-empty-source = { $value } não tem arquivos: uma versão vazia apagaria tudo o que está implantado; verifique `from` e `exclude`
release-overlap = a origem { $from } e o destino { $to } estão um dentro do outro
release-root = o destino { $value } é uma raiz: nada pode ficar ao lado
release-no-folder = o destino { $value } não é uma pasta
release-not-ours = { $value } é onde as versões são preparadas, mas foi criada por outra pessoa; tire-a de lá
release-not-staged = { $value } não tem uma versão preparada; execute `stage` de novo
release-file-not-staged = o arquivo preparado { $value } não está lá; execute `stage` de novo
release-blocked = { $path } não pertence a nenhuma versão e está onde `{ $name }` da nova tem de ficar; tire-o de lá ou exclua `{ $name }`
release-not-saved = a versão substitui ou apaga o que o backup { $archive } não tem: { $names } (em { $folder }); tire-os de `exclude` de `backup` ou exclua-os também da versão
release-keep-data = `keep_data` é { $value }, que já existe ou está no destino; dê o nome de uma pasta nova fora dele
manifest-newer = foi gravado por uma versão mais nova
manifest-name = o nome `{ $name }`: { $reason }
stage-note-no-file = { $path } fica de fora: não é arquivo nem pasta

## Processos
ending-code = terminou com o código de saída { $code }
ending-signal = foi encerrado pelo sinal { $number } ({ $name })
ending-other-signal = foi encerrado pelo sinal { $number }
ending-control-c = foi encerrado por Ctrl+C
ending-untold = terminou sem código de saída
tree-ending-gone = terminou
known-unseen = um programa que não é permitido ver (pid { $pid })
known-running = { $name } (pid { $pid }): { $line }
known-running-in = { $name } (pid { $pid }): { $line }, em { $cwd }
empty-expectation = `expect` está vazio e serviria para qualquer programa; informe parte do programa, da pasta ou da linha de comando
gate-start = não foi possível iniciar { $program }: { $source }
gate-gone = { $program } foi encerrado por alguém antes de começar
origin-title = { $process } mostra um título próprio em vez dos argumentos, e não poderia ser iniciado de novo como estava
origin-program = o programa de { $process } não existe mais, e ele não poderia ser iniciado de novo como estava
origin-unseen = não é permitido ver como { $process } é executado ({ $reason }), e ele não poderia ser iniciado de novo como estava
origin-user = { $process } é executado como outro usuário, e não poderia ser iniciado de novo como ele; execute o almaplan como root ou como esse usuário
origin-keep = não foi possível guardar em { $file } como { $process } é executado: { $reason }
too-much = imprime mais de { $mebibytes } MiB: do que vem depois só se guarda o final
port-hidden = algum programa usa a porta { $port }, mas este usuário não pode ver qual; execute o almaplan como o usuário desse serviço ou como administrador
port-unreadable = não há como saber quem usa a porta { $port }: { $source }
resolve-not-in-path = o programa `{ $program }` não foi encontrado no PATH ({ $path })
resolve-no-path = o programa `{ $program }` não foi encontrado, pois PATH não está definido
resolve-not-found = o programa `{ $program }` não foi encontrado a partir de { $folder }
resolve-no-folder = a pasta { $folder } não existe, e `{ $program }` deveria ser executado nela
resolve-not-executable = { $path } não é um arquivo executável (`chmod +x`?)
run-note-no-status = não foi possível esperar por `{ $program }`: { $source }
run-note-left-running = `{ $program }` deixou programas funcionando, que são encerrados com ele: { $left }
stop-refused = este usuário não pode parar o processo { $pid } ({ $program }): { $source }
stop-unkillable = o processo { $pid } ({ $program }) foi encerrado à força e continua lá depois de { $seconds } s: o próprio sistema o segura
not-ours = o processo { $pid } é o próprio almaplan ou quem o iniciou: nunca é parado daqui
bound-to-unit = o almaplan funciona na unidade { $unit } do systemd: quando ela terminar, o serviço iniciado aqui termina junto; para evitar isso, inicie-o com `systemd-run --scope`
bound-to-job = o almaplan funciona em um job que encerra com ele todos os processos, como os de sessões remotas e agentes de build: quando ele terminar, o serviço iniciado aqui termina junto; para evitar isso, inicie o almaplan de um console da própria máquina ou pelo agendador de tarefas

## command
command-ended = `{ $program }` { $how }
command-no-name = `stdout` tem de dar nome a um arquivo, e { $path } não dá
command-unwritable = não foi possível gravar { $path }: { $source }
command-not-replaced = não foi possível substituir { $path }: { $source }

## stop-service e start-service
stop-service-taken-again = a porta { $port } volta a ser ocupada cada vez que é liberada: algo inicia { $process } de novo; pare isso primeiro
stop-service-not-freed = não foi possível liberar a porta { $port }: { $source }
stop-service-stranger = quem usa a porta { $port } é um programa de outros, que não foi tocado por não corresponder a `expect`: { $process }
stop-service-supervised = { $supervisor } mantém { $process } e o iniciaria de novo na mesma hora: pare-o com uma etapa `service-control`
stop-service-no-way-back = { $error }; nada foi parado: escreva program, args e env onde o plano o inicia de novo, e `bring_back = false` aqui
stop-note-stopping = parando { $process }
stop-note-killed = o processo { $pid } não terminou sozinho em { $grace } e foi encerrado à força
stop-note-other-by-now = o pid { $pid } agora é de outro programa, que não foi tocado: { $process }
start-masked = `{ $program }` não foi iniciado com `{ $arg }`, em que `***` está no lugar de um segredo que não é guardado: escreva os `args` no plano, ou entregue segredos em `env`
start-log = não foi possível gravar o registro { $path }: { $source }
start-taken = a porta { $port } está ocupada, e `{ $program }` não foi iniciado: { $by }
start-taken-by = a porta { $port } está ocupada, e `{ $program }` não foi iniciado: processo { $pid }
start-ended = `{ $program }` { $how } antes de atender na porta { $port }
start-late = `{ $program }` não atendeu na porta { $port } em { $waited }, e foi encerrado
start-late-behind = `{ $program }` não atendeu na porta { $port } em { $waited }, e foi encerrado; quem atende nela é outro programa: { $other }
start-note-goes-on = continua com o processo { $pid }, que uma tentativa anterior iniciou
start-note-another-one = o processo { $pid } { $how }: outro é iniciado
start-note-never-stopped = o processo { $pid } não chegou a ser parado: continua
start-note-from-outside = quem atende é o processo { $pid }, iniciado fora do que o almaplan acompanha

## service-control
state-running = em funcionamento
state-stopped = parado
ask-show = consultado
ask-start = iniciado
ask-stop = parado
ask-restart = reiniciado
control-no-tool = { $value }; é este o sistema para o qual `manager` foi escrito?
control-unknown = não foi possível consultar `{ $name }`; por isso nada foi feito: { $said }
control-refused = `{ $name }` não pôde ser { $ask }: { $said }
control-fell = `{ $name }` foi { $ask } e não está { $wanted }: { $words }; o registro dele diz por quê
control-late = `{ $name }` não está { $wanted } depois de { $waited }: { $words }
control-unsettled = `{ $name }` não está em funcionamento nem parado depois de { $waited }: { $words }
control-note-left-alone = `{ $name }` não é tocado: ninguém tinha chegado a alterá-lo
control-note-already = `{ $name }` já está { $state }: { $words }
control-note-asking = `{ $name }` está sendo { $ask }
tool-said-something = { $said }
tool-said-nothing = a ferramenta { $how } e não disse nada

## http-check
http-address = `{ $text }` não é um endereço http ({ $reason }); escreva como http://127.0.0.1:5000
http-server = respondeu { $value }
http-connect = sem conexão ({ $value })
http-timeout = sem resposta a tempo
http-broken = sem resposta ({ $value })
http-encoding = respondeu na codificação `{ $value }`, que não pode ser lida aqui
http-authority = não foi possível ler certificados de { $file }: { $reason }
check-nothing = `paths` e `checks` estão vazios: informe pelo menos um, como `paths = ["/"]`
check-two-bodies = uma verificação de `{ $value }` tem `form` e `body`: uma requisição leva só um deles
check-not-captured = a verificação de `{ $path }` usa `${"{"}{ $name }{"}"}`, que nenhuma verificação anterior captura
check-capture = `capture.{ $name }` da verificação de `{ $path }`: { $reason }
check-nothing-captured = { $head }, mas `capture.{ $name }` não encontra nada na resposta: { $body }
check-elsewhere = { $head }, um redirecionamento para { $to }: outra origem não é resposta deste serviço; se for o que se quer, informe `status = { $status }`
check-no-answer = `{ $path }`: { $reason }
check-lost = `{ $path }` foi enviado, mas não veio uma resposta inteira ({ $reason }); não se sabe se teve efeito; por isso não é enviado de novo
check-status = { $head } (esperado { $expected }): { $body }
check-contains = { $head }, mas sem `{ $expected }`: { $body }
check-no-json = { $head }, mas não é JSON: { $body }
check-json = { $head }, mas `{ $pointer }` é { $found } (esperado { $expected }): { $body }
check-json-missing = { $head }, mas falta `{ $pointer }` (esperado { $expected }): { $body }
check-still-so = { $error } (ainda assim depois de { $waited })
check-dead = o processo { $value } terminou; o registro dele diz por quê
check-silent = ninguém atende na porta { $value } ainda
check-foreign = a porta { $port } é de { $holder ->
    [none] outro programa
   *[other] { $holder }
}, que não é o processo { $expected } nem foi iniciado por ele
check-unseen = não há como saber se o processo { $pid } está funcionando: { $reason }
head-direct = `{ $path }` respondeu { $status }
head-redirected = `{ $path }` respondeu { $status } depois de um redirecionamento para { $to }
body-shown = { $text }
body-empty = (sem corpo)

## log-check
logs-pattern = `{ $pattern }` não é uma expressão regular: { $reason }
logs-read = não foi possível ler { $file }: { $reason }
logs-ended = o processo { $value } terminou, embora os registros dele não tenham erros
logs-found = de { $lines } linhas novas nos registros, { $found ->
    [one] 1 não deveria estar lá
   *[other] { $found } não deveriam estar lá
}:
    { $shown }
logs-found-more = de { $lines } linhas novas nos registros, { $found } não deveriam estar lá:
    { $shown }
    (e mais { $more })
logs-note-lost = { $lost }: verifique você mesmo
lost-begun-anew = { $value } recomeçou depois do início, e o que havia nele antes não foi encontrado
lost-no-line = não há como saber se { $value } ainda é o arquivo do início: nenhuma linha começa naquela posição
lost-packed = { $value } pode ter linhas de depois do início e está compactado de um modo que não pode ser lido aqui

## watch
watch-cpu = usou { $took } % de um núcleo, mais do que os { $limit } % permitidos, 3 vezes seguidas
watch-memory = ocupou { BYTES($held) } de memória, mais do que os { BYTES($limit) } permitidos, 3 vezes seguidas
watch-silent = { $url } não respondeu 3 vezes seguidas
watch-unwatchable = não é possível observar o processo { $pid }: { $source }
watch-gone = o processo { $pid }, que seria observado, não está funcionando
watch-ended = terminou enquanto era observado, depois de { $seconds } s: { $process }

## preflight
problems = { $problems }
problem-space = { $path } tem { BYTES($free) } livres, e são necessários { BYTES($needed) }; libere espaço ou escolha outro lugar
problem-backup-space = { $path } tem { BYTES($free) } livres, e são necessários { BYTES($needed) } para um backup de { $saved } e a restauração dele; libere espaço ou escolha outro lugar
problem-space-unknown = não há como saber o espaço livre de { $path }: { $reason }
problem-unwritable = não é possível gravar em { $path }: { $reason }
problem-missing = { $value } não existe
problem-no-program = não há o programa `{ $value }`; instale-o ou informe o caminho dele
problem-broken = `{ $program }` não funciona: { $reason }
problem-old = `{ $program }` está na versão { $found }, e é necessária pelo menos a { $needed }
problem-no-version = `{ $value }` não é uma versão; escreva como 3.14
problem-foreign = a porta { $port } é de { $holder }, que não é dos nossos (esperado: { $expected }); pare-o ou escolha outra porta
problem-not-installed = faltam no ambiente de { $python }: { $missing }; instale-os ou tire-os de `packages`
problem-not-listed = faltam em { $list }: { $missing }; acrescente-os ou tire-os de `packages`
problem-packages = não há como saber os pacotes: { $value }
problem-expectation = `port_expect`: { $value }
problem-unreachable = não foi possível acessar { $host }: { $reason }
broken-endless = ele não termina
broken-ended = ele { $how }
broken-ended-saying = ele { $how }: { $said }
broken-no-version = ele não diz a versão, e sim `{ $told }`
broken-run = { $value }

## Python
python-missing = { $value }; instale o Python ou diga onde ele está com `python`
python-no-environment = { $value } não é um ambiente virtual: não tem interpretador
python-run = { $value }
python-strange = { $program } não parece ser o Python: { $told }
python-silent = { $program } não parece ser o Python: não diz nada
python-failed = não foi possível { $aim }: { $reason }
python-requirements = não foi possível ler { $file }: { $reason }
python-not-read = { $file } não diz o que instalar: { $reason }
python-moves = { $line } { $why }
python-unproved = { $env } não é o que foi pedido: { $problems }
python-misconfigured = { $env } não é o que foi pedido: { $problems } (o pip está configurado com `{ $name }`: `pip config debug` diz onde; tire-o de lá)
python-changed = { $value }, ou o que ele cita, foi alterado durante a instalação; execute de novo
aim-tell-installed = saber o que está instalado
aim-list-installed = listar o que está instalado
aim-check-installed = verificar o que está instalado
aim-list-settings = listar a configuração do pip
aim-tell-abilities = saber o que o pip sabe fazer
aim-make-environment = criar o ambiente virtual { $env }
aim-upgrade-pip = atualizar o pip
aim-install = instalar { $list }
aim-install-with-uv = instalar { $list } com o uv
aim-fit-together = instalar pacotes que sirvam juntos
aim-fetch = baixar os pacotes de { $list }
aim-remove-extras = remover o que não havia antes
complaint-said = { $line }
complaint-ended = ele { $how }
unsaid-no-toml = { $reason }; corrija-o
unsaid-no-dependencies = ele não tem `dependencies` em `[project]`; escreva-as lá, ou informe um `pylock.toml` (`uv export --format pylock.toml`, `pdm export -f pylock`) ou uma lista de requisitos
unsaid-dynamic = as `dependencies` dele são `dynamic`: só quem o constrói as conhece; escreva-as lá, ou informe um `pylock.toml` (`uv export --format pylock.toml`, `pdm export -f pylock`) ou uma lista de requisitos
unsaid-own-source = `{ $name }` vem de uma origem própria (`[tool.uv.sources]`); informe um `pylock.toml` (`uv export --format pylock.toml`)
unsaid-lock-for-old-pip = o pip deste Python não lê arquivos pylock (nem o mais novo); instale o uv, ponha um wheel do pip 26.1 ou mais novo em `wheels`, ou escreva uma lista de requisitos com hashes
unsaid-lock-for-this-pip = o pip deste Python não lê arquivos pylock ({ $why }); instale o uv, ponha um wheel do pip 26.1 ou mais novo em `wheels`, ou escreva uma lista de requisitos com hashes
moves-editable = é editável: o ambiente levaria a uma pasta que é substituída ou muda depois; escreva a pasta sem `-e`, que instala uma cópia, ou informe a versão de um pacote
moves-included = inclui um arquivo da rede, que pode mudar; salve esse arquivo ao lado deste e inclua-o
moves-checkout = segue `{ $revision }`, que muda; escreva o id completo de um commit depois de `@`
moves-revision = segue `{ $revision }`, que muda; escreva o id completo de um commit depois de `@` (`git ls-remote { $repository } { $revision }` o mostra)
moves-address = é um endereço cujo conteúdo pode mudar; escreva depois dele `#sha256=` e o hash do arquivo
env-all-spoiled = nenhum dos 8 ambientes é mais o que era; remova os que estão em { $dir }
env-no-uv = não há o programa `uv`; instale-o, ou escreva `installer = "auto"`, que usa o pip sem ele
env-note-pip-instead = o uv não conseguiu, então o pip faz: { $failure }
env-note-left-alone = { $env } não é mais o que era e não é tocado; outro é usado: { $why }
env-note-removed = removido { $env }, de que nada mais precisa
env-note-not-pruned = { $failure }
spoiled-interpreter = o interpretador dele agora é o Python { $version }
unrepeatable-editable = é editável
unrepeatable-checkout = vem de um sistema de controle de versão
unrepeatable-address = vem de um endereço
unrepeatable-path = é um arquivo ou uma pasta
download-requirement = { $line } { $why }, e não haveria como voltar; informe a versão de um pacote, ou use `python-env`
download-installed = `{ $text }` está instalado agora e { $why }, e não haveria como voltar; use `python-env`
download-write = não foi possível gravar { $file }: { $reason }
packages-before = não foi possível ler { $file }: { $reason }; é a lista que `pip-download` criou
packages-different = os pacotes não são os que eram: { $difference }; tente de novo, ou instale { $file } à mão
packages-note-unfit = os pacotes são os que eram, mas não servem juntos: { $error }
difference-other = { $package } é { $found }
difference-missing = falta { $package }
difference-extra = { $package } não existia

## Bancos de dados
address-not-one = `url` não é o endereço de um banco de dados; escreva postgresql://usuário:senha@servidor:porta/banco, ou mysql://…
address-no-name = `url` não diz qual banco de dados; escreva o nome dele depois do servidor, como …/banco
database-aim-dump = exportar o banco de dados
database-aim-read-back = ler a exportação de volta
database-aim-read = ler a exportação
database-aim-bring-back = trazer o banco de dados de volta
database-no-tool = { $missing }; instale os programas cliente do banco de dados, ou diga onde estão com `tool`
database-failed-saying = não foi possível { $aim }: `{ $tool }` { $how }: { $said }
database-failed = não foi possível { $aim }: `{ $tool }` { $how }
dump-unwritable = não foi possível gravar { $file }: { $source }
dump-unreadable = não foi possível ler { $file }: { $source }
dump-cut-off = a exportação está incompleta: a última linha dela não é `-- Dump completed …`
dumped-unreadable = não foi possível ler { $file }: { $source }
dumped-not-ours = { $file } não é a exportação que foi feita: o SHA-256 dela é { $found }, e não { $wanted }
dumped-no-scripts = não foi possível criar uma pasta ao lado de { $file }: { $source }
dumped-no-postgres = { $file } não é uma exportação do PostgreSQL feita por `db-backup`
dumped-no-my-sql = { $file } não é uma exportação do MySQL feita por `db-backup`
dumped-other-database = { $file } é a exportação de outro banco de dados, que seria substituído

## approval, notify e deploy-log
approval-refused = recusada por { $value }
approval-unanswered = ninguém respondeu em { $value }
notify-errors = { $errors }
notify-webhook-address = o endereço do webhook não é um endereço http
notify-webhook = o webhook em { $host } não foi avisado: { $reason }
notify-refused = o webhook em { $host } recusou o aviso com { $status }
notify-mail-server = `smtp` não é o endereço de um servidor de e-mail; escreva como smtps://usuário:senha@mail.example.com
notify-mailbox = `{ $value }` não é um endereço de e-mail
notify-mail = não foi possível escrever o e-mail: { $value }
notify-smtp = o e-mail não foi enviado: { $value }
notify-slow = o e-mail não foi enviado: sem resposta a tempo
entry = não foi possível gravar { $file }: { $reason }
entry-note = { $error }; o registro da implantação vai para { $beside }
