# O que as pessoas leem, em português do Brasil. As mesmas mensagens, com os mesmos argumentos, estão em en.ftl; um teste compara.

## Unidades e números
decimal-separator = ,
approximately = cerca de { $duration }
progress-of = { $done } de { $total }
unit-files = { $n ->
    [0] nenhum arquivo
    [one] { $n } arquivo
   *[other] { $n } arquivos
}
unit-attempt = tentativa { $n }
count-steps = { $n ->
    [one] { $n } etapa
   *[other] { $n } etapas
}
count-attempts = { $n ->
    [one] { $n } tentativa
   *[other] { $n } tentativas
}
count-errors = { $n ->
    [one] { $n } erro
   *[other] { $n } erros
}
count-warnings = { $n ->
    [one] { $n } aviso
   *[other] { $n } avisos
}

## Estados de uma etapa
state-pending = ainda não iniciada
state-started = em execução
state-retrying = falhou e será tentada de novo
state-succeeded = concluída
state-failed = falhou
state-skipped = pulada: a condição não se aplica
state-not-run = não executada
state-unknown = desconhecida: foi iniciada e não se sabe no que deu
state-undo-started = sendo desfeita
state-undo-retrying = não pôde ser desfeita e será tentada de novo
state-undone = desfeita
state-undo-failed = não pôde ser desfeita

## Uma linha por evento
run-begins = { $plan } · execução { $run } · { $steps }
run-resumed = { $plan } · retomando a execução { $run } · { $steps }
step-started = { $attempt ->
    [1] iniciada
   *[other] iniciada, tentativa { $attempt }
}
step-undo-started = { $attempt ->
    [1] desfazendo
   *[other] desfazendo, tentativa { $attempt }
}
step-succeeded = concluída em { $took }
step-undone = desfeita em { $took }
step-failed = falhou após { $took }
step-undo-failed = não pôde ser desfeita, após { $took }
step-written-off = não pôde ser desfeita e fica como está
still-running = ainda em execução após { $took }
last-lines = { $n ->
    [one] a última linha:
   *[other] as últimas { $n } linhas:
}
reachable = o serviço voltou a responder
unreachable = o serviço não responde
ctrl-c-while-down = O serviço está fora do ar. Enter: continuar · d: desfazer · p: parar assim
stopping = parando: as etapas em execução têm { $grace } para terminar; Ctrl-C de novo as encerra já
live = NO AR: a nova versão está no ar
live-not-answering = a nova versão está no lugar, mas o serviço não responde
pivot-passed = o pivô passou: daqui em diante nenhuma falha desfaz mais nada
live-without-downtime = NO AR: a nova versão está no ar; o serviço não ficou fora do ar
live-after = NO AR: a nova versão está no ar; o serviço ficou { $downtime } fora do ar
screen-run = { $plan }   execução { $run }
screen-resumed = { $plan }   retomando a execução { $run }
screen-down = fora do ar
screen-up = no ar outra vez
screen-up-after = no ar outra vez, depois de { $duration }
undoing = desfazendo

## O alarme
alert = ALERTA
unwinding-because = falhou: { $step }; o que foi feito está sendo desfeito
unwinding-nothing = falhou: { $step }; nada havia sido alterado ainda
unwinding-not-owed = falhou: { $step }; nada do que foi feito precisa ser desfeito
unwinding-asked-nothing = parado conforme solicitado; nada precisa ser desfeito
unwinding-asked = conforme solicitado, o que foi feito está sendo desfeito

## Em que deu uma etapa, em poucas palavras
summary-changed = { $n ->
    [one] { $n } alterado
   *[other] { $n } alterados
}
summary-added = { $n ->
    [one] { $n } novo
   *[other] { $n } novos
}
summary-deleted = { $n ->
    [one] { $n } apagado
   *[other] { $n } apagados
}
summary-removed = { $n ->
    [0] nada a remover
    [one] { $n } removido
   *[other] { $n } removidos
}
summary-lines = { $n ->
    [one] { $n } linha
   *[other] { $n } linhas
}
summary-same-files = os mesmos arquivos
summary-environment-new = ambiente novo
summary-environment-same = o mesmo de antes
summary-forced = encerrada à força
summary-ready = em { $duration }
summary-peaks = no máximo { $cpu } % de CPU e { $memory }

## O total abaixo das etapas em execução
total-done = { $done } de { $steps ->
    [one] { $steps } etapa
   *[other] { $steps } etapas
}
total-undone = { $n ->
    [one] { $n } desfeita
   *[other] { $n } desfeitas
}
total-running = { $n } em execução
total-down = serviço fora do ar há { $duration }

## O resumo final
outcome-succeeded = Sucesso
outcome-warned = Sucesso com avisos
outcome-done = Concluído
outcome-unchanged = Nada mudou
outcome-compensated = Falhou e foi desfeito
outcome-nothing-changed = Falhou sem alterar nada
outcome-failed = Falhou antes da troca
outcome-aborted = Abortado por uma pessoa
outcome-rolled-back = Revertido por uma pessoa
outcome-stuck = Travado
outcome-paused = Pausado
outcome-interrupted = Interrompido
recap-about = { $plan } · execução { $run }
recap-unchanged = A versão é a mesma que já estava no ar: nada foi parado nem trocado.
recap-nothing-changed = Nada havia sido alterado.
recap-nothing-owed = Nada do que havia sido feito precisa ser desfeito.
recap-compensated-but = O que havia sido feito foi desfeito, exceto o que ficou como está: verifique.
recap-stuck = Algo não pôde ser desfeito e precisa de uma pessoa. O que depende disso não foi tocado.
recap-paused = Aguardando a resposta de uma pessoa; até lá, nada novo é iniciado.
recap-interrupted-undoing = Parado enquanto era desfeito; nada se perdeu. Pode continuar daqui.
recap-interrupted = Parado no meio do caminho; nada se perdeu e nada foi desfeito. Pode continuar daqui.
down-so-far = { $downtime } até aqui, e ainda não responde
down-still = não responde
recap-more = … e mais { $n }
recap-down-so-far = { $downtime } fora do ar até aqui
recap-downtime = { $downtime } fora do ar
row-warned = com aviso
row-written-off = ficaram como estão
row-by-hand = feitas à mão
closed-by = { $by }
row-failed = causa
row-unknown = não se sabe
row-owed = a desfazer
row-failed-folder = versão que falhou
row-backup = backup
row-logs = registros
row-again = próximo
recap-again = corrija a causa e execute o mesmo `almaplan apply` outra vez
row-asked = aguardando resposta
next-commands = { $n ->
    [one] Próximo comando:
   *[other] Próximo comando, um destes:
}
means-goes-on = continua de onde parou
means-goes-on-undoing = continua a desfazer
means-tries-again = tenta de novo o que não pôde ser desfeito: antes, corrija o que impediu
means-asks-again = verifica de novo e pergunta de novo sobre o que não se sabe
means-undoes = desfaz o que ela fez
means-was-done = você verificou e o trabalho foi feito: o que depende dela continua
means-was-not-done = você verificou e o trabalho não foi feito: ele é feito agora
means-allows = sim: a execução continua
means-forbids = não: a etapa falha
means-frees = libera o alvo depois de perguntar; o que essa execução deixou por desfazer fica como está, e ninguém mais o desfaz
means-done-by-hand = você fez à mão o que não pôde ser desfeito: o resto é desfeito
means-ends-early = para a etapa, e ela conta como feita: a versão nova fica de qualquer forma
means-left-as-it-is = fica como está de vez, e consta na lista: o resto é desfeito

## Quem atende
headline = { $outcome }: { $who }
serves = quem atende é a { $version }
serves-nothing = nada atende, o serviço não responde
serves-unclear = o serviço responde, e não é certo com qual versão
serves-now = { $version }: atende, e responde agora
served-then = { $version }: respondia quando a execução terminou
serves-nothing-now = nada atende agora: { $why }
served-nothing-then = nada atendia quando a execução terminou: { $why }
serves-another = quem atende é de outra execução, mais nova: { $run }
version-new = versão nova
version-old = versão anterior
version-same = mesma versão de antes
version-unclear = não se sabe qual versão
version-of-run = versão da execução { $run }
wrong-no-answer = { $url } não respondeu
wrong-status = { $url } respondeu { $status }
wrong-content = { $url } respondeu sem o texto esperado
state-not-answering = { $state }, sem resposta do serviço

## Situação e histórico
run-state-running = em execução
run-state-settled = encerrada
status-plan = plano
status-started = início
status-pid = processo
status-downtime = fora do ar
status-serves = no ar
status-owed = a desfazer
status-by-hand = feito à mão
status-written-off = fica como está
status-questions = aguardando resposta
status-owes = (ainda por desfazer)
runs-none = nenhuma execução ainda
runs-run = execução
runs-state = situação
runs-took = duração
runs-user = por

## O relatório
report-title = { $plan } · execução { $run }
report-version = almaplan
report-about = Gerado em { $at } ({ $zone }), no relógio de quem o gerou.
report-downtime = Enquanto o serviço esteve fora do ar
report-not-measured = O plano não mede um serviço: ele não tem [measure].
report-never-down = O serviço medido não foi visto fora do ar.
report-outage = { $from } – { $to }: { $took } fora do ar
report-outage-open = desde { $from }: não responde; { $took } até aqui
report-step = etapa
report-what = o quê
report-when = quando
report-began = início
report-inside = dentro
report-share = parcela
report-idle = nenhuma etapa em execução
report-interrupted = nada registrado: a execução foi interrompida
report-side-by-side = De cada etapa só conta o que fica dentro; o que correu lado a lado conta para cada uma, e as parcelas podem somar mais de 100%.
report-undo-of = desfazer: { $kind }
report-finally-of = ao final: { $kind }
report-timeline = Linha do tempo
report-steps = Etapas
report-attempts = tentativas
report-state = situação
report-graph = Grafo
report-logs = Registros
report-nothing-printed = Nenhuma etapa imprimiu nada.
report-left-out = Os primeiros { $size } ficaram de fora: almaplan logs { $run } { $step } mostra tudo.
report-span = { $from } – { $to } ({ $took })
report-mark-down = serviço fora do ar
report-mark-gap = interrompida: nenhum processo tinha a execução
report-mark-short = desenhado mais curto do que foi; nada começou nem terminou nesse trecho

## O que uma execução faria
preview-step = { $step }: { $verdict }
preview-would-run = seria executada
preview-up-to-date = já está como deve ficar
preview-skipped = pulada: a condição não vale ({ $why })
preview-cannot-tell = não há como saber: depende de { $why }
preview-would-fail = falharia
preview-missing = só se sabe quando as etapas anteriores forem executadas: { $outputs }
preview-after = o que exatamente, só se sabe depois desta: { $step }
preview-version-now = { $version } agora
preview-if-it-fails = Se falhar
preview-fails-in = em { $from }
preview-fails-from = de { $from } até { $until }
preview-undoes = desfaz, nesta ordem: { $steps }
preview-undoes-nothing = não há nada a desfazer
preview-undoes-warning = nada é desfeito: é só um aviso
preview-downtime-last = O serviço ficou { $last } fora do ar na última execução.
preview-downtime = O serviço ficou { $last } fora do ar na última execução, e de { $least } a { $most } nas últimas { $runs }.
preview-changes-nothing = Nada do que está no ar mudaria.
preview-nothing-was-changed = Isto foi uma prévia: nada foi alterado. Os programas que as etapas executam podem fazer mais do que é dito aqui.
preview-run-going-on = a execução { $run } de { $user } está em andamento aqui: apply seria recusado
preview-run-unsettled = a execução { $run } de { $user } não foi encerrada aqui: até lá apply seria recusado
preview-target-held = outra execução ocupa este alvo: apply seria recusado
preview-files = { $added ->
    [one] { $added } novo
   *[other] { $added } novos
}, { $changed ->
    [one] { $changed } alterado
   *[other] { $changed } alterados
}, { $deleted ->
    [one] { $deleted } apagado
   *[other] { $deleted } apagados
}; { $bytes } a copiar
preview-files-added = novos: { $names }{ $more ->
    [0] {""}
   *[other] {" "}e mais { $more }
}
preview-files-changed = alterados: { $names }{ $more ->
    [0] {""}
   *[other] {" "}e mais { $more }
}
preview-files-deleted = apagados: { $names }{ $more ->
    [0] {""}
   *[other] {" "}e mais { $more }
}
preview-files-not-counted = não se conta o que antes é gravado ali por { $steps }
preview-files-moved = { $moved ->
    [one] { $moved } posto no lugar
   *[other] { $moved } postos no lugar
}, { $deleted ->
    [one] { $deleted } apagado
   *[other] { $deleted } apagados
}
preview-runs = { $command }
preview-printed = { $line }
preview-starts = { $command }, na porta { $port }
preview-stops = processo { $pid }, funcionando há { $age }: { $command }
preview-comes-back = poderia ser iniciado de novo como está agora
preview-nobody = ninguém atende na porta { $port }
preview-saves = { $files ->
    [one] { $files } arquivo, { $bytes }
   *[other] { $files } arquivos, { $bytes }
}
preview-free = { $bytes } livres em { $folder }
preview-all-there = tudo o que ela procura está lá
preview-writing-untried = não se tentou gravar nas pastas
preview-environment-there = o ambiente já existe: { $folder }
preview-environment-made = um ambiente novo seria criado
preview-packages-new = pacotes novos: { $names }
preview-packages-changed = pacotes de outras versões: { $names }
preview-files-same = os mesmos arquivos
preview-finally = No fim, com qualquer resultado: { $steps }
preview-never-down = O serviço não ficou fora do ar na última execução.

## Perguntas
confirm-abort = parar a execução { $run } de { $plan } e desfazer o que ela fez? [s/N]
confirm-rollback = desfazer a execução { $run } de { $plan }, que terminou com sucesso? [s/N]
confirm-unlock = liberar { $lock }? O que essa execução deixou por desfazer fica como está, e ninguém mais o desfaz. [s/N]

## Planos
check-valid = { $file } é válido
graph-pivot = pivô
graph-irreversible = irreversível
graph-finally = ao final

## De que parte do plano se trata: sozinha, depois de "de", depois de "em"
owner-plan = o plano
    .of = do plano
    .in = no plano
owner-section = `[{ $name }]`
    .of = de `[{ $name }]`
    .in = em `[{ $name }]`
owner-secret = o segredo `{ $name }`
    .of = do segredo `{ $name }`
    .in = no segredo `{ $name }`
owner-var = a variável `{ $name }`
    .of = da variável `{ $name }`
    .in = na variável `{ $name }`
owner-step = a etapa `{ $name }`
    .of = da etapa `{ $name }`
    .in = na etapa `{ $name }`
owner-finally = a etapa `{ $name }` de `finally`
    .of = da etapa `{ $name }` de `finally`
    .in = na etapa `{ $name }` de `finally`
owner-compensation = a compensação de `{ $name }`
    .of = da compensação de `{ $name }`
    .in = na compensação de `{ $name }`
owner-probe = o `probe` de `{ $name }`
    .of = do `probe` de `{ $name }`
    .in = no `probe` de `{ $name }`
place-field = `{ $field }` { $of }
    .of = de `{ $field }` { $of }
    .in = em `{ $field }` { $of }

## Listas
list-and = { $first } e { $last }
list-or = { $first } ou { $last }
list-and-more = { $first } e mais { $n }
list-or-more = { $first } ou mais { $n }

## O que um valor é, ou deveria ser
value-text = um texto
value-integer = um número inteiro
value-number = um número
value-boolean = `true` ou `false`
value-date = uma data
value-list = uma lista
value-table = uma tabela
value-nothing = nada
value-duration = uma duração
value-size = um tamanho
value-var = um texto, um número, um booleano ou uma lista deles
value-secret-source = uma tabela como `{"{"} env = "NOME" {"}"}` ou `{"{"} file = "…" {"}"}`
value-compensation = "none", uma tabela com `uses` ou uma lista dessas tabelas
value-tables = uma lista de tabelas
value-statuses = um status HTTP, ou uma lista deles
value-choices = uma lista de textos, números ou booleanos, com ao menos um
value-step-names = uma lista de nomes de etapas
value-of-reference = `{ $reference }`, que é { $types }
value-large-number = um número tão grande
value-endless-number = um número infinito
bounds-at-least = no mínimo { $least }
bounds-at-most = no máximo { $most }
bounds-from-to = de { $least } a { $most }
bounds-at-most-years = no máximo { $years } anos
bounds-longer-than-nothing = maior que zero

## Por que um modelo não pode ser lido
fault-not-plain = aqui só pode haver texto simples
fault-braces = é uma expressão, que se escreve sem `{"{{"}` e `{"}}"}`
fault-names-a-value = ele dá nome a um valor, e modelos só dão nome ao que percorrem com `for`
fault-vague = depois de `{ $name }` falta o nome do que se quer
fault-no-filter = não existe o filtro `{ $name }`
fault-no-test = não existe o teste `{ $name }`
fault-no-function = não existe a função `{ $name }`
fault-parser = detalhe: { $detail }

## Quando algo é nulo
null-secret-not-set = o segredo não é informado
null-not-that-far = `{ $step }` não chega até esse ponto
null-not-succeeded = `{ $step }` não é executada ou não termina bem
null-skipped = `{ $step }` é pulada
null-failed = `{ $step }` falha

## Erros em um plano, e o que fazer com cada um
hint-meant = você quis dizer `{ $name }`?
hint-has = as possíveis são { $names }
hint-can-be = pode ser { $names }
hint-plan-name = é por ele que se conhecem as execuções, as travas e o histórico: `[plan]`, `name = "…"`
hint-measured = `url = "…"`, ou `checks = [{"{"} url = "…", status = 200 {"}"}]`
hint-uses = informe o tipo da etapa: `uses = "…"`; `almaplan steps` mostra todos
hint-input = `almaplan steps { $kind }` explica cada entrada
hint-duration = escreva como "30s" ou "15m"
mistake-syntax = o arquivo não é TOML; detalhe: { $detail }
mistake-file-too-large = o arquivo tem mais de { $mib } MiB, e nenhum plano precisa disso
mistake-too-deep = { $place } tem mais de { $levels } níveis, e nenhum plano precisa disso
mistake-template-too-long = o modelo { $in } tem mais de { $parts } partes, e nenhum plano precisa disso
mistake-format-missing = o plano não diz qual é o seu `format`
    .hint = escreva `format = 1` no início do arquivo
mistake-format-unknown = esta versão conhece `format = 1`, e o plano tem { $found }
    .hint = escreva `format = 1` no início do arquivo
mistake-unknown-key = { $place } não tem a chave `{ $key }`
mistake-missing-key = { $place } está sem `{ $key }`
mistake-wrong-type = { $place } deve ser { $expected }, e é { $found }
mistake-unknown-kind = não existe o tipo de etapa `{ $kind }`
    .hint = `almaplan steps` mostra todos os tipos
mistake-unknown-choice = { $place } não pode ser `{ $value }`
mistake-no-duration = { $place } não é uma duração: `{ $value }`
    .hint = escreva como "30s" ou "15m"
mistake-no-size = { $place } não é um tamanho: `{ $value }`
    .hint = escreva como "500MiB" ou "2GB"
mistake-out-of-range = { $place } é { $value }, e deve ser { $bounds }
mistake-refused = o tipo de etapa recusa { $place }; detalhe: { $detail }
mistake-bad-name-plan = `{ $name }` não pode ser o nome de um plano
    .hint = o nome não tem modelos nem caracteres invisíveis
mistake-bad-name-variable = `{ $name }` não pode ser o nome de uma variável
    .hint = um nome tem letras sem acento, algarismos e `_`, e não começa com um algarismo
mistake-bad-name-secret = `{ $name }` não pode ser o nome de um segredo
    .hint = um nome tem letras sem acento, algarismos e `_`, e não começa com um algarismo
mistake-bad-name-step = `{ $name }` não pode ser o nome de uma etapa
    .hint = um nome tem letras sem acento, algarismos, `_` e `-`
mistake-same-name = `{ $name }` é o nome de uma etapa e também de uma etapa de `finally`
mistake-no-steps = o plano não tem etapas
    .hint = uma etapa é uma tabela como `[steps.backup]`, com um `uses`
mistake-need-elsewhere = { $owner } precisa de `{ $needed }`, que não está entre estas etapas
    .hint = etapas precisam de etapas, e as de `finally` precisam das de `finally`
mistake-unknown-need = { $owner } precisa de `{ $needed }`, que não existe no plano
mistake-double-need = { $owner } precisa de `{ $needed }` duas vezes
mistake-needs-itself = { $owner } precisa de si mesma
    .hint = retire uma destas dependências
mistake-cycle = estas etapas precisam umas das outras: { $cycle }
    .hint = retire uma destas dependências
mistake-template = o modelo { $in } não pode ser lido: { $why }
mistake-unknown-name = o modelo { $in } usa `{ $name }`, que nada define
    .hint = modelos conhecem `vars`, `steps`, `secrets`, `env`, `run` e `plan`; um texto se escreve '{ $name }', entre aspas
mistake-unknown-var = { $place } se refere à variável `{ $name }`, que não existe no plano
mistake-unknown-secret = { $place } se refere ao segredo `{ $name }`, que não existe no plano
mistake-unknown-step = { $place } se refere à etapa `{ $name }`, que não existe no plano
mistake-finally-step = { $place } se refere à etapa `{ $name }`, que é de `finally`: nada pode usar o que ela deixa
mistake-unknown-output = { $place } se refere a `{ $output }` da etapa `{ $step }`, que `{ $kind }` não deixa
mistake-vague = { $place } se refere a `{ $name }` sem dizer a que parte
    .hint = dê o nome: `{ $name }.nome`
mistake-vague-step = { $place } se refere a `{ $name }` sem dizer a que parte
    .hint = dê o nome da saída: `{ $name }.saida`; uma etapa com `-` no nome se escreve `steps["a-b"].saida`
mistake-before-the-run = { $place } não pode se referir a `{ $name }`: é preciso antes da execução, quando só se conhecem `vars`, `env` e `plan`
mistake-outcome-before-finally = { $place } não pode se referir a `{ $name }`: o resultado só se conhece em `finally`
mistake-own-output = { $place } não pode se referir a `{ $name }`: as próprias saídas só existem quando ela termina
mistake-secret-in-env = { $place } se refere a `env.{ $name }`, que parece um segredo
    .hint = use `[secrets]`, que o esconde: `{ $lower } = {"{"} env = "{ $name }" {"}"}`
mistake-may-be-null = { $place } não pode ficar sem `{ $reference }`, que é nulo quando { $when }
    .hint = diga o que usar no lugar: `{"{{"} { $reference } | default("…") {"}}"}`, ou faça com que a etapa também seja pulada, com `when`
mistake-not-before = { $place } se refere à etapa `{ $step }`, que pode não ter sido executada até ali
    .hint = faça `{ $owner }` precisar de `{ $step }`
mistake-var-cycle = as variáveis se referem umas às outras em círculo: { $cycle }
    .hint = retire uma destas referências
mistake-unknown-filter = o modelo { $in } usa o filtro `{ $name }`, que não existe
mistake-unknown-test = o modelo { $in } usa o teste `{ $name }`, que não existe
mistake-unknown-function = o modelo { $in } usa a função `{ $name }`, que não existe
mistake-several-pivots = o plano tem mais de um pivô
    .hint = fique com o que faz a nova versão valer
mistake-beside-pivot = { $n ->
        [one] { $steps } corre ao lado do pivô `{ $pivot }`
       *[other] { $steps } correm ao lado do pivô `{ $pivot }`
    }
    .hint = faça o pivô precisar delas, ou faça com que elas precisem do pivô
mistake-irreversible-without-pivot = a etapa `{ $step }` é irreversível em um plano sem pivô
    .hint = diga qual etapa é o ponto sem volta: `pivot = true`
mistake-irreversible-early = a etapa `{ $step }` é irreversível, mas não vem depois do pivô `{ $pivot }`
    .hint = o que não se desfaz deve vir depois de tudo o que pode falhar
mistake-irreversible-compensated = a etapa `{ $step }` é irreversível e diz como é compensada
    .hint = fique com um dos dois
mistake-undeclared = a etapa `{ $step }` altera algo e não diz como isso se desfaz
    .hint = acrescente `compensate`, ou diga que não há o que desfazer: `compensate = "none"`
mistake-secret-source = o segredo `{ $name }` deve vir de um só lugar: `env` ou `file`
mistake-no-value-here = a variável `{ $name }` não tem valor para `{ $system }`
mistake-unrepresentable = { $place } não pode ser { $what }
mistake-date = { $place } não pode ser { $what }
    .hint = escreva entre aspas
mistake-not-in-finally = { $owner } não pode ter `{ $key }`
    .hint = as etapas de `finally` são executadas depois do resultado e nunca são desfeitas
mistake-blank = { $place } está em branco
mistake-untold = há mais erros do que estes
    .hint = corrija os que são mostrados e confira de novo
mistake-unrenderable = o modelo { $in } não dá resultado com estes valores: { $why }
given-by = valor:
related-needs = `{ $step }` precisa de `{ $needed }`
related-variable = { $name }
related-same-name = a etapa
related-first-need = a primeira vez
related-first-pivot = o primeiro
related-used = usado aqui
related-beside = nem antes nem depois dele

## O que está errado nos valores das variáveis
var-unknown = o plano não tem a variável `{ $name }`
var-unknown-like = o plano não tem a variável `{ $name }`; você quis dizer `{ $suggestion }`?
var-type = a variável `{ $name }` é { $expected } no plano, e `{ $given }` não é
var-not-one-of = a variável `{ $name }` não pode ser `{ $value }`; pode ser { $choices }
var-not-one-of-like = a variável `{ $name }` não pode ser `{ $value }`; você quis dizer `{ $suggestion }`?
var-given = { $error } ({ $source })
var-template = variável `{ $name }`: { $why }
var-not-here = a variável `{ $name }` se refere a `{ $reference }`; variáveis só podem se referir a `vars`, `env` e `plan`
var-secret = a variável `{ $name }` se refere a `env.{ $env }`, que parece um segredo; use `[secrets]`, que o esconde
template-unreadable = não foi possível ler `{ $template }`: { $why }
template-undefined = `{ $template }` precisa de `{ $name }`, que não está definido
template-null = `{ $template }` precisa de `{ $name }`, que é nulo; diga o que usar no lugar com `| default("…")`
template-too-much = `{ $template }` trabalha mais do que um modelo pode
template-failed = não foi possível calcular `{ $template }`: { $why }
unfit-number = o número é grande demais
unfit-list = a lista não pode ser lida
unfit-table = a tabela não pode ser lida
unfit-name = uma tabela tem um nome que não é texto
unfit-undefined = algo nele não está definido
unfit-value = o resultado não é um valor que uma entrada possa ter
values-no-toml = { $file } não é TOML (linha { $line }, coluna { $column }); detalhe: { $detail }
values-unreadable = { $file }: { $detail }

## O que o sistema diz de um arquivo
file-not-found = não existe esse arquivo ou pasta
file-denied = falta permissão para isso
file-is-folder = é uma pasta
file-other = detalhe: { $detail }
file-at = { $path }: { $error }

## Uma linha de comando que não se entende. O inglês vem do clap, exceto o que não é dele.
usage-unknown-command = não existe o comando { $name }
usage-unknown-argument = { $arg } não é esperado aqui
usage-missing = falta: { $arg }
usage-conflict = { $arg } e { $prior } não combinam
usage-no-value = { $arg } precisa de um valor
usage-not-one-of = { $arg } não aceita { $value }; aceita: { $taken }
usage-bad-value = { $arg } não aceita { $value }: { $reason }
usage-too-many = { $arg } tem outro número de valores do que aceita
usage-no-assignment = escreva como NOME=VALOR
usage-no-duration = escreva como 30s ou 5m
usage-no-name = não pode existir tal nome, pois contém um separador de caminho, dois-pontos ou um ponto no início
usage-no-url-path = começa com /
usage-no-number = não é um número que caiba
usage-id-characters = um identificador tem letras, algarismos, - e _, e começa com letra ou algarismo
usage-id-long = um identificador não é tão longo
usage-id-reserved = esse nome já significa outra coisa
usage-output-not-done = --output é para uma etapa que foi feita: o que não foi feito não deixou nada
usage-meant = você quis dizer { $names }?
usage-options = [OPÇÕES]
usage-more = almaplan --help mostra mais

## Por que um segredo, o estado ou a pasta da máquina não podem ser usados
secret-of-env = variável de ambiente { $name }: { $reason }
secret-of-file = arquivo { $file }: { $reason }
secret-not-set = sem valor
secret-too-short = menos de { $least } caracteres, que não poderiam ser ocultados no que é mostrado
distrust-foreign = { $path } pertence a { $owner }
distrust-writable = { $path } pode ser alterado por outros (chmod go-w { $path })
distrust-not-a = { $path } não é { $wanted ->
        [folder] uma pasta
       *[other] um arquivo comum
    }
distrust-io = não foi possível examinar { $path }: { $error }
damage = { $what }
damage-of-run = execução { $run }: { $what }
damage-of-event = evento { $seq } da execução { $run }: { $what }
damage-not-ours = não é um estado do almaplan
lock-on-share = fica em um compartilhamento de rede, cujas travas não são confiáveis
lock-record-damaged = o registro { $file } de uma execução não encerrada está danificado: { $what }

## Tipos de etapa
kind-inputs = Entradas (with)
kind-outputs = Saídas
kind-defaults = Padrões
kind-nothing = nenhuma
kind-required = obrigatória
kind-optional = opcional
kind-default = padrão: { $value }
kind-effect = efeito
kind-observes = só observa; nada a compensar
kind-changes = altera o que sobrevive a uma reinicialização
kind-volatile = altera o que uma reinicialização desfaz
kind-timeout = tempo limite de cada tentativa
kind-no-timeout = nenhum
kind-on-interrupt = se for interrompida
kind-rerun = é executada de novo
kind-ask = pergunta-se a uma pessoa
kind-compensate = é desfeita
type-string = texto
type-integer = número inteiro
type-number = número
type-boolean = true ou false
type-list = lista ({ $of })
type-table = tabela
type-duration = duração ("30s", "15m")
type-bytes = tamanho ("500MiB", "2GB")
type-any = qualquer valor

## O que é recusado
error = erro:
hint = dica:
refused-internal = { $error }
    .hint = é um defeito do almaplan, ou a máquina falhou; ALMAPLAN_LOG=debug mostra mais
refused-usage = { $error }
refused-plan-unreadable = não foi possível ler o plano { $file }: { $error }
refused-plan-invalid = o plano { $file } tem erros; nada foi tocado
    .hint = almaplan check { $file } mostra quais
refused-bad-variable = { $error }
    .hint = só podem ser informadas variáveis declaradas em [vars], com um valor do mesmo tipo
refused-secret-missing = não foi possível obter o segredo { $secret }: { $error }; nada foi tocado
    .hint = forneça-o onde [secrets] indica e execute o mesmo comando de novo
refused-held = a execução { $run } está em andamento e ocupa { $lock } (processo { $pid }, { $user }); nada foi tocado
    .hint = almaplan status { $run } mostra a situação dela; --lock-timeout espera por ela
refused-occupied = o usuário { $user } tem uma execução sobre { $lock } ({ $pid ->
        [none] não encerrada
       *[other] processo { $pid }
    }); nada foi tocado
    .hint = { $pid ->
        [none] peça a { $user } que a encerre: ninguém mais pode continuar com ela
       *[other] --lock-timeout espera por ela; { $user } ou um administrador pode terminar esse processo
    }
refused-not-ours = { $error }, e por isso não se acredita no que está ali; nada foi aberto e nada foi tocado
    .hint = execute isto como o usuário a quem pertence, ou informe uma pasta sua com --state-dir
refused-unsettled = a execução { $run } de { $user } sobre { $lock } não foi encerrada ({ $state }); nada foi tocado
    .hint = { $known ->
        [no] só { $user } pode ver o estado dela e continuar ({ $next }): fale com essa pessoa, ou com o root
       *[yes] continue com ela primeiro: { $next }
    }
refused-state-gone = a execução { $run } não foi encerrada, e o estado dela sumiu: não há nenhum em { $folder }; nada foi tocado
    .hint = traga essa pasta de volta (uma unidade ausente, uma cópia) e continue; se ela se perdeu de vez, acerte à mão o que a execução deixou e depois libere o alvo
refused-run-unreadable = a execução { $run } sobre { $lock } não foi encerrada, e este almaplan não consegue lê-la: { $error }; nada foi tocado
    .hint = continue com o almaplan que a iniciou; se não for possível, acerte à mão o que a execução deixou e depois libere o alvo
refused-foreign-record = a execução não encerrada registrada em { $file } é de { $user }; nada foi tocado
    .hint = fale com { $user }, ou com o root
refused-many-locks = há mais de um alvo possível: { $locks }
    .hint = diga qual deles
refused-journal-damaged = o diário { $file } está danificado: { $error }; nada foi tocado
    .hint = guarde o arquivo como está e restaure-o de uma cópia; ele nunca é consertado por adivinhação. Se não houver cópia, ponha a pasta dele de lado, acerte à mão o que a execução deixou e libere o alvo com almaplan unlock
refused-journal-newer = o diário { $file } tem o formato { $version }, e este almaplan lê até o { $known }: um mais novo o gravou; nada foi tocado
    .hint = instale o almaplan mais novo e repita o mesmo comando
refused-needs-yes = não há um terminal onde perguntar; nada foi tocado
    .hint = { $command } --yes
refused-not-confirmed = não confirmado; nada foi tocado
    .hint = { $command } pergunta de novo
refused-no-run = não há uma execução com que continuar
    .hint = almaplan runs mostra todas; --state-dir diz onde estão
refused-unknown-run = não existe a execução { $run }
    .hint = almaplan runs mostra todas; --state-dir diz onde estão
refused-many-runs = há mais de uma execução possível: { $runs }
    .hint = diga qual delas
refused-other-plan = a execução { $run } é de outro plano, { $plan }; nada foi tocado
    .hint = escolha outro id
refused-already-settled = a execução { $run } já foi encerrada: { $outcome }
    .hint = almaplan status { $run } mostra no que deu
refused-unknown-step = a execução { $run } não tem a etapa { $step }
    .hint = almaplan status { $run } mostra as etapas
refused-not-asked = nada está sendo perguntado sobre a etapa { $step } da execução { $run }
    .hint = almaplan status { $run } mostra o que é perguntado
refused-not-owed = a etapa { $step } da execução { $run } não deve nada que se possa fazer à mão ou dar por perdido; nada foi tocado
    .hint = almaplan status { $run } mostra o que falta desfazer
refused-already-answered = a etapa { $step } da execução { $run } já tem uma resposta, e é essa que vale
    .hint = almaplan status { $run } mostra o que foi feito dela
refused-irreversible = a execução { $run } não pode ser desfeita: a etapa { $step } é irreversível e foi executada
refused-newer-run = a execução { $run } não pode ser desfeita: a execução { $newer } veio depois dela
    .hint = desfaça primeiro a mais nova: almaplan rollback { $newer }
refused-nothing-to-roll-back = a execução { $run } não terminou com sucesso ({ $outcome }): não há o que desfazer
refused-unknown-kind = não existe o tipo de etapa { $kind }
    .hint = almaplan steps mostra todos
refused-too-few-files = uma execução precisa de pelo menos { $count } arquivos abertos ao mesmo tempo, e este processo não pode abrir tantos: { $error }
    .hint = aumente o limite (ulimit -n 1024; LimitNOFILE de uma unidade) e repita o mesmo comando; nada foi iniciado
refused-unknown-code = não existe o código { $code }
    .hint = almaplan explain lista todos: os de erros em planos (ALM0007) e os códigos de saída (3)
refused-state-unusable = não foi possível usar a pasta { $folder }: { $error }
    .hint = corrija isso e repita o mesmo comando; almaplan status mostra se uma execução foi interrompida
refused-disk-full = não há mais espaço no disco de { $folder }: { $error }
    .hint = libere espaço nesse disco e repita o mesmo comando; uma execução interrompida continua com almaplan resume
refused-state-on-network = a pasta { $folder } está em um compartilhamento de rede, onde travas e gravações não são confiáveis
    .hint = escolha uma pasta local com --state-dir
refused-file-unwritable = não foi possível gravar o arquivo { $file }: { $error }; o que havia lá não foi tocado
    .hint = informe um arquivo em uma pasta que exista e na qual você possa gravar
refused-already-there = { $file } já existe; nada foi gravado
    .hint = fique com ele (`almaplan check` diz se é válido), ou antes dê a ele outro nome
refused-no-application = nenhum sistema foi reconhecido em { $folder }; nada foi gravado
    .hint = informe a pasta dele, ou diga como é iniciado: `almaplan init --template NOME` (`almaplan init --help` lista os nomes)
refused-path-no-text = o caminho { $file } não é texto Unicode, e não pode ser escrito em um plano; nada foi gravado
    .hint = dê outro nome à pasta

## Avisos
state-not-ours = { $error }: o estado que está ali não é consultado
report-written = o relatório está em { $file }
nothing-to-resume = não há execução para continuar
attached = a execução { $run } está em andamento (processo { $pid }): nada é iniciado, ela é mostrada aqui
already-run = a execução { $run } já terminou: nada é iniciado
nothing-to-abort = não há execução para abortar
abort-asked = o processo da execução { $run } foi avisado para desfazê-la; aguardando
resolve-told = o processo da execução { $run } foi avisado
resolve-kept = anotado para o passo { $step } da execução { $run }
nothing-to-unlock = nenhuma execução registrada para { $lock }: não há o que liberar
unlock-lock = alvo
unlock-state = estado
unlock-why = por quê
unlock-record-unreadable = não foi possível ler o registro: { $error }
unlock-state-gone = o estado dela sumiu: ninguém pode continuar com ela
unlock-no-access = não é permitido ver o estado dela: ninguém pode continuar com ela
unlock-run-unreadable = não foi possível lê-la: { $error }
unlock-over = já terminou, ou nunca começou
unlocked = { $lock } está livre: o próximo almaplan apply pode ser executado. Veja antes o que a execução perdida deixou
plan-edited = o plano { $file } foi editado depois do início da execução; ela continua com a própria cópia

## O histórico encurtado
history-pruned = { $removed ->
    [one] 1 execução foi removida
   *[other] { $removed } execuções foram removidas
} do histórico; { $kept ->
    [one] 1 fica
   *[other] { $kept } ficam
}

## O que um código significa
explain-heading-example = Exemplo
explain-heading-way = A saída
explain-heading-codes = Erros em planos
explain-heading-exits = Códigos de saída
explain-exit = código de saída { $code }

## init
init-flask = um sistema em Flask
init-fastapi = um sistema em FastAPI
init-django = um sistema em Django
init-node = um sistema em Node
init-static = um site estático
init-found = { $folder } tem { $what } (é o que diz { $file })
init-found-nothing = nada em { $folder } diz que sistema é; o modelo foi informado
init-serving = está no ar na porta { $port }: { $command } (pid { $pid }), em { $folder }
init-stranger = a porta { $port } é de outro programa: { $command } (pid { $pid }), em { $folder }; o plano se recusará a pará-lo
init-value = { "  " }{ $option }  { $value }  ({ $source })
init-given = informado
init-from-folder = encontrado
init-answered = respondido
init-usual = padrão
init-entry-unknown = a fazer: nada diz como ele é iniciado; foi suposto `{ $entry }`; corrija `start` no plano
init-no-requirements = a fazer: crie { $file }, com os pacotes de que o sistema precisa
init-missing-package = a fazer: acrescente { $package } em { $file }
init-compose = { $file } não foi considerado: não há modelo para contêineres
init-written = gravado: { $file }
init-next = a seguir:
init-next-test = um ensaio
init-ask-template = Como ele é iniciado (flask-waitress, gunicorn, uvicorn, django, node, static)? [{ $default }]
init-ask-name = Nome da implantação? [{ $default }]
init-ask-production = Pasta que fica no ar? [{ $default }]
init-ask-port = Porta? [{ $default }]
init-ask-health = Endereço que tem de responder 200? [{ $default }]
init-again-template = Um destes nomes, por favor.
init-again-name = Um nome, por favor.
init-again-production = Uma pasta, por favor.
init-again-port = Um número de 1 a 65535, por favor.
init-again-health = Um endereço que comece com `/`, por favor.
