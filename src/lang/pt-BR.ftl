# O que as pessoas leem, em português do Brasil. As mesmas mensagens, com os mesmos argumentos, estão em en.ftl; um teste compara.

## Unidades e números
decimal-separator = ,
approximately = cerca de { $duration }
progress-of = { $done } de { $total }
unit-files = { $n ->
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
stopping = parando: as etapas em execução têm { $grace } para terminar; Ctrl-C de novo as encerra já
live = NO AR: a nova versão está no ar
live-without-downtime = NO AR: a nova versão está no ar; o serviço não ficou fora do ar
live-after = NO AR: a nova versão está no ar; o serviço ficou { $downtime } fora do ar
undoing = desfazendo

## O alarme
alert = ALERTA
unwinding-because = a etapa { $step } falhou: o que foi feito está sendo desfeito
unwinding-nothing = a etapa { $step } falhou; nada havia sido alterado ainda
unwinding-asked = conforme solicitado, o que foi feito está sendo desfeito

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
outcome-compensated = Compensado
outcome-stuck = Travado
outcome-paused = Pausado
outcome-interrupted = Interrompido
recap-about = em { $took } · { $plan } · execução { $run }
recap-succeeded = Tudo foi concluído.
recap-warned = A nova versão está no ar; algo que não a desfaz falhou.
recap-compensated = O que havia sido feito foi desfeito: tudo está como antes.
recap-compensated-but = O que havia sido feito foi desfeito, exceto o que ficou como está: verifique.
recap-stuck = Algo não pôde ser desfeito e precisa de uma pessoa. O que depende disso não foi tocado.
recap-paused = Aguardando a resposta de uma pessoa; até lá, nada novo é iniciado.
recap-interrupted-undoing = Parado enquanto era desfeito; nada se perdeu. Pode continuar daqui.
recap-interrupted = Parado no meio do caminho; nada se perdeu e nada foi desfeito. Pode continuar daqui.
down-so-far = { $downtime } até aqui, e ainda não responde
down-still = não responde
recap-more = … e mais { $n }
recap-downtime = Serviço fora do ar: { $downtime }
row-done = concluídas
row-skipped = puladas
row-warned = com aviso
row-compensated = compensadas
row-written-off = ficaram como estão
row-failed = com falha
row-unknown = desconhecidas
row-not-run = não executadas
row-owed = a desfazer
row-asked = aguardando resposta
next-commands = { $n ->
    [one] Próximo comando:
   *[other] Próximo comando, um destes:
}

## Situação e histórico
run-state-running = em execução
run-state-settled = encerrada
status-plan = plano
status-started = início
status-pid = processo
status-downtime = fora do ar
status-owed = a desfazer
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

## Perguntas
confirm-abort = parar a execução { $run } de { $plan } e desfazer o que ela fez? [s/N]
confirm-rollback = desfazer a execução { $run } de { $plan }, que terminou com sucesso? [s/N]

## Planos
check-valid = { $file } é válido
graph-pivot = pivô
graph-irreversible = irreversível
graph-finally = ao final

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
refused-unsettled = a execução { $run } de { $user } sobre { $lock } não foi encerrada ({ $state }); nada foi tocado
    .hint = continue com ela primeiro: { $next }
refused-state-gone = a execução { $run } não foi encerrada, e o estado dela sumiu: não há nenhum em { $folder }; nada foi tocado
    .hint = traga essa pasta de volta (uma unidade ausente, uma cópia) e continue; se ela se perdeu de vez, acerte à mão o que a execução deixou e depois remova { $record }
refused-journal-damaged = o diário { $file } está danificado: { $error }; nada foi tocado
    .hint = guarde o arquivo como está e restaure-o de uma cópia; ele nunca é consertado por adivinhação
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
refused-already-settled = a execução { $run } já foi encerrada: { $outcome }
    .hint = almaplan status { $run } mostra no que deu
refused-unknown-step = a execução { $run } não tem a etapa { $step }
    .hint = almaplan status { $run } mostra as etapas
refused-not-asked = nada está sendo perguntado sobre a etapa { $step } da execução { $run }
    .hint = almaplan status { $run } mostra o que é perguntado
refused-irreversible = a execução { $run } não pode ser desfeita: a etapa { $step } é irreversível e foi executada
refused-newer-run = a execução { $run } não pode ser desfeita: a execução { $newer } veio depois dela
    .hint = desfaça primeiro a mais nova: almaplan rollback { $newer }
refused-nothing-to-roll-back = a execução { $run } não terminou com sucesso ({ $outcome }): não há o que desfazer
refused-unknown-kind = não existe o tipo de etapa { $kind }
    .hint = almaplan steps mostra todos
refused-state-unusable = não foi possível usar a pasta { $folder }: { $error }
    .hint = corrija isso e repita o mesmo comando; almaplan status mostra se uma execução foi interrompida
refused-disk-full = não há mais espaço no disco de { $folder }: { $error }
    .hint = libere espaço nesse disco e repita o mesmo comando; uma execução interrompida continua com almaplan resume
refused-state-on-network = a pasta { $folder } está em um compartilhamento de rede, onde travas e gravações não são confiáveis
    .hint = escolha uma pasta local com --state-dir
refused-file-unwritable = não foi possível gravar o arquivo { $file }: { $error }; o que havia lá não foi tocado
    .hint = informe um arquivo em uma pasta que exista e na qual você possa gravar

## Avisos
report-written = o relatório está em { $file }
nothing-to-resume = não há execução para continuar
nothing-to-abort = não há execução para abortar
abort-asked = o processo da execução { $run } foi avisado para desfazê-la; aguardando
resolve-told = o processo da execução { $run } foi avisado
resolve-kept = anotado para o passo { $step } da execução { $run }
next-command = próximo comando: { $command }
plan-edited = o plano { $file } foi editado depois do início da execução; ela continua com a própria cópia
